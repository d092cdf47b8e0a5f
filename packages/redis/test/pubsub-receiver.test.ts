import { EventEmitter } from "node:events";
import type { Delivery, DriverError, DriverEvent, Runtime } from "@sluice/core/driver";
import { expect, test } from "vitest";
import type { Link } from "../src/client.ts";
import { pubsubSettings, type RedisPubsubOptions } from "../src/pubsub/options.ts";
import { PubsubReceiver } from "../src/pubsub/receiver.ts";

const runtime: Runtime = {
  wallMs: () => 0,
  monotonicMs: () => 0,
  random: () => 0.5,
  id: () => "id",
  timer: () => () => {},
  defer: (run) => void setImmediate(run),
};

/** A subscriber to whom the test sends. */
async function open(options: RedisPubsubOptions, window = 100) {
  const native = new EventEmitter();
  const ended = Promise.withResolvers<DriverError | undefined>();
  const link = {
    native,
    alive: true,
    closed: ended.promise,
    ask: async () => 1,
    fail: ended.resolve,
    destroy: () => ended.resolve(undefined),
  } as unknown as Link; // Only what it has is used.
  const events: DriverEvent[] = [];
  const lost: string[] = [];
  const receiver = new PubsubReceiver({
    link,
    publisher: link,
    opened: new Map(),
    settings: pubsubSettings({ format: "raw", ...options }),
    context: {
      runtime,
      clientName: "test",
      signal: new AbortController().signal,
      report: (event) => void events.push(event),
    },
    options: { ordered: false, window, windowBytes: 1e6, lost: (_, reason) => void lost.push(reason) },
    sources: [{ topic: "t", broadcast: "b", instance: "i" }],
  });
  await receiver.start();
  const sharded = options.sharded ?? false;
  const arrive = (message: string) =>
    native.emit(sharded ? "smessageBuffer" : "messageBuffer", Buffer.from("t"), Buffer.from(message));
  const { signal } = new AbortController();
  const take = async () => bodies(await receiver.receive(100, signal));
  return { native, receiver, events, lost, arrive, take, signal };
}

const bodies = (deliveries: readonly Delivery[]) => deliveries.map(({ body }) => Buffer.from(body ?? []).toString());

test.each<[string, RedisPubsubOptions, readonly string[]]>([
  ["by count, the oldest", { inbox: 2 }, ["ccc", "dddd"]],
  ["by count, the newest", { inbox: 2, overflow: "newest" }, ["a", "bb"]],
  ["by bytes, the oldest", { inboxBytes: 7 }, ["ccc", "dddd"]],
  ["by bytes, the newest", { inboxBytes: 6, overflow: "newest" }, ["a", "bb", "ccc"]],
  ["all but one that is larger than the inbox", { inboxBytes: 3 }, ["dddd"]],
])("a full inbox drops %s, and says how many", async (_, options, kept) => {
  const { receiver, arrive, take, events, signal } = await open(options);
  for (const message of ["a", "bb", "ccc", "dddd"]) arrive(message);
  expect(await take()).toEqual(kept);
  await receiver.close(signal);
  const limits = new RegExp(`more than ${options.inbox ?? 10_000} or ${options.inboxBytes ?? 67_108_864} bytes`);
  expect(events).toMatchObject([{ kind: "gap", count: 4 - kept.length, detail: expect.stringMatching(limits) }]);
});

test("what was taken makes room in the inbox", async () => {
  const { receiver, arrive, take, events, signal } = await open({ inboxBytes: 4 });
  for (const message of ["aa", "bb"]) arrive(message);
  expect(await take()).toEqual(["aa", "bb"]);
  for (const message of ["cc", "dd"]) arrive(message);
  expect(await take()).toEqual(["cc", "dd"]);
  await receiver.close(signal);
  expect(events).toEqual([]);
});

test("a channel that moved away finishes the receiver: it is opened on the other node", async () => {
  const { native, receiver, arrive, take, lost } = await open({ sharded: true });
  arrive("a");
  await take();
  native.emit("moved");
  expect(await receiver.closed).toMatchObject({ code: "LOST", retryable: true });
  expect(lost).toEqual(["disconnected"]);
});
