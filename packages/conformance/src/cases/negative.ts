import assert from "node:assert/strict";
import { createServer, type Server, type Socket } from "node:net";
import { type Case, defineCase } from "../case.ts";
import { connect } from "@sluice/core";
import { monotonicMs, pause, within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { conserve, describe, effects, publishAll, readable, stated, subscribe } from "../flow.ts";
import { type Address, wrongSecret } from "../harness.ts";
import { makeItems } from "../payload.ts";
import { nodeRuntime } from "../runtime.ts";
import { refuses } from "./needs.ts";

/** A server on a free loopback port, closed with the case. */
async function serve(context: CaseContext, onSocket: (socket: Socket) => void): Promise<Address> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.cleanup(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("conformance: no port");
  return { host: "127.0.0.1", port: bound.port };
}

async function closedPort(): Promise<Address> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (bound === null || typeof bound === "string") throw new Error("conformance: no port");
  return { host: "127.0.0.1", port: bound.port };
}

export const negative: readonly Case[] = [
  defineCase({
    id: "G-27",
    title: "Wrong credentials are refused, soon, and stay secret",
    rule: "connect rejects with UNAUTHORIZED within 10 s, is not tried again, and shows the password nowhere.",
    required: true,
    profile: "standard",
    groupless: true,
    uses: ["credentials"],
    async run(context) {
      const notes: string[] = [];
      const note = (fields: object, message: string) => void notes.push(`${message} ${JSON.stringify(fields)}`);
      const logger = { debug: note, info: note, warn: note, error: note };
      const call = () => context.connect({ logger }, { credentials: "wrong" });
      const error = await refuses("UNAUTHORIZED", "connect with a wrong password", call);
      const driver = context.harness.driver({ credentials: "wrong" });
      const failure: unknown = await within(
        10_000,
        "the driver's own connect",
        driver
          .connect({
            runtime: nodeRuntime,
            signal: AbortSignal.timeout(9_000),
            clientName: "wrong",
            report: (event) => void notes.push(event.detail),
          })
          .then(
            () => undefined,
            (reason: unknown) => reason,
          ),
      );
      assert.equal((failure as { readonly retryable?: unknown }).retryable, false, describe(failure));
      const shown = [error.message, error.stack, describe(error.cause), describe(failure), ...notes].join("\n");
      assert.ok(!shown.includes(wrongSecret), "the password is shown in an error or a log");
      await context.connect(); // The right one still works.
    },
  }),
  defineCase({
    id: "G-27b",
    title: "No right to make, to write or to read",
    rule: "What the broker forbids is FORBIDDEN, naming the thing, at once and not retried; nobody else is harmed.",
    required: false,
    profile: "standard",
    uses: ["powerless"],
    run: (context) => forbid(context),
  }),
  defineCase({
    id: "G-30",
    title: "Nothing, or something else, is listening",
    rule: "A closed port, another protocol, silence and a hang-up give a typed error within 10 s; nothing stays behind.",
    required: true,
    profile: "standard",
    groupless: true,
    uses: ["address"],
    limitMs: 120_000,
    async run(context) {
      const wrong: Record<string, Address> = {
        "a closed port": await closedPort(),
        "another protocol": await serve(context, (socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")),
        silence: await serve(context, () => {}),
        "a hang-up": await serve(context, (socket) => void socket.destroy()),
        "an unknown name": { host: "no-such-host.invalid", port: 9_999 },
      };
      await Promise.all(
        Object.entries(wrong).map(async ([what, via]) => {
          const codes = ["UNAVAILABLE", "TIMEOUT", "CONFIG", "ABORTED"] as const;
          const call = () => connect(context.harness.driver({ via }), { logger: context.logger() });
          const error = await refuses(codes, `connect to ${what}`, call, { withinMs: 10_000 });
          assert.ok(error.message.length > 10, `connect to ${what}: "${error.message}" says too little`);
        }),
      );
      const silent = wrong["silence"];
      assert.ok(silent);
      const cancel = new AbortController();
      const connecting = connect(context.harness.driver({ via: silent }), { signal: cancel.signal });
      const ended = connecting.then(
        () => "connected",
        () => "rejected",
      );
      await pause(200);
      const aborted = monotonicMs();
      cancel.abort();
      assert.equal(await within(3_000, "connect ends after its signal", ended), "rejected");
      assert.ok(monotonicMs() - aborted < 3_000);
    },
  }),
];

async function forbid(context: CaseContext): Promise<void> {
  const maker = await context.connect();
  const topic = context.topic({ groups: ["g"] });
  await subscribe(context, maker, topic, { group: "g" });
  const [first, second] = makeItems(context.run, 2);
  assert.ok(first && second);
  for (const provision of ["create", "assume"] as const) {
    const bus = await context.connect({ provision }, { credentials: "powerless" });
    const target = provision === "create" ? context.topic({ groups: ["g"] }) : topic;
    const names = { names: target.name };
    const publish = () => bus.publish(target, first, { deadline: 8_000, ...stated(bus) });
    const error = await refuses("FORBIDDEN", `publish with provision '${provision}'`, publish, names);
    assert.equal(error.outcome, "not-stored");
    const read = () => bus.subscribe(target, readable(bus, { group: "g" }), () => {});
    await refuses("FORBIDDEN", `subscribe with provision '${provision}'`, read, names);
    await within(5_000, "close of the powerless bus", bus.close());
  }
  await publishAll(context, maker, topic, [second]);
  await effects(context, topic, "g", 1);
  await maker.drain({ deadline: 5_000 });
  await conserve(context, topic, "g");
}
