import { createServer, type Server } from "node:http";
import { SNSClient } from "@aws-sdk/client-sns";
import { ListQueuesCommand, SQSClient } from "@aws-sdk/client-sqs";
import { nodeRuntime } from "@sluice/core";
import { simulation } from "@sluice/memory";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openClients } from "../src/clients.ts";
import { settings } from "../src/options.ts";
import { sqsSns } from "../src/sqs-sns.ts";

/** Who signed, and what was asked. */
let asked: { readonly key: string; readonly action: string }[] = [];
let server: Server;
let endpoint = "";

const listed = `<ListTopicsResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><ListTopicsResult><Topics/></ListTopicsResult></ListTopicsResponse>`;

beforeEach(async () => {
  asked = [];
  server = createServer((request, response) => {
    const { authorization = "", "x-amz-target": target } = request.headers;
    asked.push({ key: /Credential=([^/]+)/.exec(authorization)?.[1] ?? "", action: String(target ?? "sns") });
    request.resume().on("end", () => {
      response.setHeader("content-type", target ? "application/x-amz-json-1.0" : "text/xml");
      response.end(target ? "{}" : listed);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  endpoint = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
});

afterEach(() => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  server.close();
});

function context() {
  const { runtime } = simulation();
  return { runtime, signal: new AbortController().signal, clientName: "test", report() {} };
}

describe("clients", () => {
  test("ask for new credentials before the old ones expire", async () => {
    let given = 0;
    const credentials = async () => ({
      accessKeyId: `KEY${++given}`,
      secretAccessKey: "secret",
      expiration: new Date(Date.now() + 60_000),
    });
    const clients = openClients(settings({ endpoint, credentials }), "test", nodeRuntime);
    for (let call = 0; call < 2; call++) await clients.calls.sqs.send(new ListQueuesCommand({}));
    clients.destroy();
    // How often the SDK asks ahead is its own affair; that the second call is signed with newer keys is ours.
    expect(new Set(asked.map(({ key }) => key)).size).toBe(2);
  });

  test("go where AWS_ENDPOINT_URL leads, without a region of its own", async () => {
    vi.stubEnv("AWS_ENDPOINT_URL", endpoint);
    vi.stubEnv("AWS_REGION", undefined);
    vi.stubEnv("AWS_DEFAULT_REGION", undefined);
    const connection = await sqsSns({ credentials: { accessKeyId: "A", secretAccessKey: "B" } }).connect(context());
    expect(asked.map(({ action }) => action).sort()).toEqual(["AmazonSQS.ListQueues", "sns"].sort());
    await connection.close(new AbortController().signal);
  });

  test("that are given are used, and stay open", async () => {
    const common = { endpoint, region: "eu-central-1", credentials: { accessKeyId: "MINE", secretAccessKey: "B" } };
    const clients = { sqs: new SQSClient(common), sns: new SNSClient(common) };
    const connection = await sqsSns({ clients }).connect(context());
    expect(connection.native).toEqual(clients);
    await connection.close(new AbortController().signal);
    await clients.sqs.send(new ListQueuesCommand({}));
    expect(new Set(asked.map(({ key }) => key))).toEqual(new Set(["MINE"]));
    clients.sqs.destroy();
    clients.sns.destroy();
  });
});
