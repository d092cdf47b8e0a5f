import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { protos } from "@google-cloud/pubsub";
import { nodeRuntime } from "@sluice/core";
import { grpc } from "google-gax";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { notRenewed, status } from "../src/errors.ts";
import { Deframer, frame } from "../src/frames.ts";
import { StreamChannel } from "../src/stream-channel.ts";

const { StreamingPullRequest, StreamingPullResponse } = protos.google.pubsub.v1;

interface Served {
  readonly stream: ServerHttp2Stream;
  readonly headers: Record<string, unknown>;
  readonly request: protos.google.pubsub.v1.StreamingPullRequest;
}

/** A server that a test answers for. Streams of the heartbeat, which ask for a topic, are left alone unless `alive`. */
describe("stream channel", () => {
  let server: Http2Server;
  let channel: StreamChannel;
  const sessions = new Set<ServerHttp2Session>();
  let served: (one: Served) => void;
  let next: Promise<Served>;

  const open = (
    heartbeatMs = 60_000,
    authorization = async (): Promise<Record<string, string>> => ({ authorization: "Bearer token" }),
  ) => {
    const { port } = server.address() as AddressInfo; // It listens on TCP.
    const address = `127.0.0.1:${port}`;
    const endpoint = {
      address,
      credentials: grpc.credentials.createInsecure(),
      userAgent: "test",
      origin: `http://${address}`,
      authorization,
    };
    channel = new StreamChannel({ runtime: nodeRuntime, endpoint, project: "p", heartbeatMs });
    const messages: (string | null | undefined)[] = [];
    const ended = Promise.withResolvers<{ code: number; details: string }>();
    const stream = channel.open(
      { subscription: "projects/p/subscriptions/s", maxOutstandingMessages: 7 },
      {
        message: ({ receivedMessages }) => messages.push(...receivedMessages.map(({ ackId }) => ackId)),
        ended: (code, details) => ended.resolve({ code, details }),
      },
    );
    return { stream, messages, ended: ended.promise };
  };

  beforeEach(async () => {
    ({ promise: next, resolve: served } = Promise.withResolvers<Served>());
    server = createServer();
    server.on("session", (session) => sessions.add(session));
    server.on("stream", (stream, headers) => {
      stream.on("error", () => {}); // Tests cut it.
      if (!String(headers[":path"]).endsWith("StreamingPull")) return;
      const deframer = new Deframer();
      stream.on("data", (chunk: Buffer) => {
        for (const bytes of deframer.push(chunk))
          served({ stream, headers, request: StreamingPullRequest.decode(bytes) });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });

  afterEach(async () => {
    channel.close();
    for (const session of sessions) session.destroy();
    sessions.clear();
    await new Promise((resolve) => server.close(resolve));
  });

  const respond = ({ stream }: Served, trailers: Record<string, string>, ...ackIds: string[]) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    const receivedMessages = ackIds.map((ackId) => ({ ackId }));
    stream.write(frame(StreamingPullResponse.encode({ receivedMessages }).finish()));
  };

  test("says who we are and what we want, and hands on what comes", async () => {
    const { stream, messages, ended } = open();
    const one = await next;
    expect(one.request.subscription).toBe("projects/p/subscriptions/s");
    expect(Number(one.request.maxOutstandingMessages)).toBe(7);
    expect(one.headers).toMatchObject({
      authorization: "Bearer token",
      "x-goog-request-params": "subscription=projects/p/subscriptions/s",
      te: "trailers",
    });
    expect(channel.streams).toBe(1);
    respond(one, { "grpc-status": "0" }, "a", "b");
    one.stream.on("end", () => one.stream.end());
    stream.end();
    expect(await ended).toMatchObject({ code: status.ok });
    expect(messages).toEqual(["a", "b"]);
    expect(channel.streams).toBe(0);
  });

  test("a status that comes alone", async () => {
    const { ended } = open();
    const { stream } = await next;
    stream.respond({ ":status": 200, "grpc-status": "5", "grpc-message": "no%20such" }, { endStream: true });
    expect(await ended).toEqual({ code: status.notFound, details: "no such" });
  });

  test.each([
    [401, status.unauthenticated],
    [403, status.permissionDenied],
    [503, status.unavailable],
  ])("HTTP status %i of something before the service", async (http, code) => {
    const { ended } = open();
    (await next).stream.respond({ ":status": http }, { endStream: true });
    expect(await ended).toEqual({ code, details: `HTTP status ${http}` });
  });

  test("credentials that cannot be renewed are not an unreachable service", async () => {
    const { ended } = open(60_000, () => Promise.reject(notRenewed(new Error("invalid_grant"))));
    expect(await ended).toMatchObject({
      code: status.unauthenticated,
      details: expect.stringContaining("invalid_grant"),
    });
  });

  test("a connection that breaks, and one that cannot be had", async () => {
    const { ended } = open();
    await next;
    for (const session of sessions) session.destroy();
    expect((await ended).code).toBe(status.unavailable);
    channel.close();
    await new Promise((resolve) => server.close(resolve));
    const address = "http://127.0.0.1:1";
    channel = new StreamChannel({
      runtime: nodeRuntime,
      endpoint: {
        address,
        credentials: grpc.credentials.createInsecure(),
        userAgent: "",
        origin: address,
        authorization: async () => ({}),
      },
      project: "p",
      heartbeatMs: 60_000,
    });
    const refused = Promise.withResolvers<number>();
    channel.open({ subscription: "s" }, { message: () => {}, ended: refused.resolve });
    expect(await refused.promise).toBe(status.unavailable);
  });

  test("a peer that says nothing any more is given up after two heartbeats", async () => {
    const { ended } = open(50);
    await next;
    expect((await ended).code).toBe(status.unavailable);
  });

  test("ours to cancel, before and after it is open", async () => {
    const early = open();
    early.stream.cancel();
    expect((await early.ended).code).toBe(status.cancelled);
    channel.close();
    const late = open();
    await next;
    late.stream.cancel();
    expect((await late.ended).code).toBe(status.cancelled);
  });
});
