import { PublishBatchCommand } from "@aws-sdk/client-sns";
import { SendMessageBatchCommand } from "@aws-sdk/client-sqs";
import { type Destination, emptyHeaders, type SendItem, type SendResult } from "@sluice/core/driver";
import { simulation } from "@sluice/memory";
import { describe, expect, test } from "vitest";
import { Directory } from "../src/directory.ts";
import { names } from "../src/names.ts";
import { SqsSnsSender } from "../src/sender.ts";
import { FakeService } from "./support/service.ts";

const never = new AbortController().signal;

function open() {
  const world = simulation();
  const { runtime } = world;
  const service = new FakeService(runtime);
  const { clients } = service;
  const directory = new Directory(clients, names(""), runtime);
  let staleUntilMs = 0;
  const sent: string[] = [];
  const sender = new SqsSnsSender({
    clients,
    directory,
    names: names(""),
    runtime,
    maxMessageBytes: 262_144,
    staleUntilMs: () => staleUntilMs,
    sent: (address) => sent.push(address),
  });
  return {
    world,
    service,
    directory,
    sender,
    sent,
    stale: (ms: number) => (staleUntilMs = runtime.monotonicMs() + ms),
  };
}

function item(
  id: string,
  to: Destination = { topic: "orders" },
  more: { body?: Uint8Array; key?: string; due?: number } = {},
): SendItem {
  const { body = Buffer.from(id), key = null, due } = more;
  const record = { id, dedupId: `${id}/0`, key, body, headers: emptyHeaders(), time: 0 };
  return due === undefined ? { to, record } : { to, record, notBefore: due };
}

function outcomes(results: readonly SendResult[]): string[] {
  return results.map((result) => (result.outcome === "stored" ? "stored" : `${result.outcome} ${result.error.code}`));
}

function service(name: string, status: number, fault: "client" | "server"): Error {
  return Object.assign(new Error(name), { name, $fault: fault, $metadata: { httpStatusCode: status } });
}

type Entry = Readonly<Record<string, unknown>>;

function entriesOf(input: Record<string, unknown> | undefined): readonly Entry[] {
  return (input?.["PublishBatchRequestEntries"] ?? input?.["Entries"] ?? []) as readonly Entry[];
}

describe("batches", () => {
  test("hold ten messages, and no more bytes than the service takes", async () => {
    const parts = open();
    const small = Array.from({ length: 12 }, (_, n) => item(`s${n}`));
    expect(outcomes(await parts.sender.send(small, never))).toEqual(small.map(() => "stored"));
    const big = [1, 2, 3].map((n) => item(`b${n}`, { topic: "orders" }, { body: Buffer.alloc(100_000, 65) }));
    expect(outcomes(await parts.sender.send(big, never))).toEqual(["stored", "stored", "stored"]);
    const sizes = parts.service.of(PublishBatchCommand).map((input) => entriesOf(input).length);
    expect(sizes).toEqual([10, 2, 2, 1]);
  });

  test("answer for each entry: the service's fault leaves it open, ours does not", async () => {
    const parts = open();
    parts.service.failures = (_, entries) => [
      { Id: entries[1]?.Id ?? "", Code: "InternalError", SenderFault: false },
      { Id: entries[2]?.Id ?? "", Code: "InvalidMessageContents", SenderFault: true },
    ];
    const results = await parts.sender.send([item("a"), item("b"), item("c"), item("d")], never);
    expect(outcomes(results)).toEqual(["stored", "unknown UNAVAILABLE", "not-stored INVALID_MESSAGE", "stored"]);
  });

  test.each<[string, Error, string]>([
    ["is refused", service("AuthorizationErrorException", 403, "client"), "not-stored FORBIDDEN"],
    ["is throttled", service("ThrottledException", 429, "client"), "not-stored REFUSED"],
    ["fails at the service", service("InternalError", 500, "server"), "unknown UNAVAILABLE"],
    ["never leaves", Object.assign(new Error("x"), { code: "ECONNREFUSED" }), "not-stored UNAVAILABLE"],
    ["has no answer", Object.assign(new Error("x"), { code: "ECONNRESET" }), "unknown UNAVAILABLE"],
    ["is stored with another checksum", new Error("Invalid MD5 checksum on messages: 1"), "unknown UNKNOWN"],
  ])("that %s", async (_, refusal, expected) => {
    const parts = open();
    parts.service.refusal = refusal;
    expect(outcomes(await parts.sender.send([item("a"), item("b")], never))).toEqual([expected, expected]);
  });

  test("leave out a message that is too large, with both sizes", async () => {
    const parts = open();
    const [ok, large] = await parts.sender.send(
      [item("a"), item("b", { topic: "orders" }, { body: Buffer.alloc(262_144, 65) })],
      never,
    );
    expect(ok?.outcome).toBe("stored");
    expect(large).toMatchObject({ outcome: "not-stored", error: { code: "TOO_LARGE" } });
    expect(large?.outcome === "not-stored" && large.error.message).toMatch(/has 262\d{3} bytes .*limit is 262144/);
  });
});

describe("where it goes", () => {
  test("is told to whoever reads there, unless it is to be read later", async () => {
    const parts = open();
    for (const name of ["orders_to-g", "sluice_delayed"]) parts.service.queues.add(name);
    await parts.sender.send([item("a"), item("b")], never);
    await parts.sender.send([item("c", { topic: "orders", group: "g" })], never);
    await parts.sender.send([item("d", { topic: "orders" }, { due: parts.world.runtime.wallMs() + 5_000 })], never);
    expect(parts.sent).toEqual(["orders", "http://sqs/orders_to-g"]);
  });

  test("nowhere: a topic that is missing, or that nobody reads", async () => {
    const parts = open();
    expect(outcomes(await parts.sender.send([item("a", { topic: "missing" })], never))).toEqual([
      "not-stored NOT_FOUND",
    ]);
    parts.service.topics.add("unread");
    parts.service.unread.add("unread");
    expect(outcomes(await parts.sender.send([item("a", { topic: "unread" })], never))).toEqual([
      "unroutable UNROUTABLE",
    ]);
    parts.service.unread.delete("unread");
    expect(outcomes(await parts.sender.send([item("a", { topic: "unread" })], never))).toEqual(["stored"]);
  });

  test("nowhere: the entry of a group that has no queue", async () => {
    const parts = open();
    const to = { topic: "orders", group: "billing", deadLetter: true } as const;
    expect(outcomes(await parts.sender.send([item("a", to)], never))).toEqual(["unroutable UNROUTABLE"]);
  });

  test("an ordered topic is found by itself, and gets group and deduplication ids", async () => {
    const parts = open();
    parts.service.topics.clear();
    parts.service.topics.add("orders.fifo");
    await parts.sender.send([item("a", { topic: "orders" }, { key: "k" })], never);
    const [input] = parts.service.of(PublishBatchCommand);
    expect(input?.["TopicArn"]).toMatch(/:orders\.fifo$/);
    expect(entriesOf(input)).toMatchObject([{ MessageGroupId: "k", MessageDeduplicationId: "a/0" }]);
  });

  test("dead letters of an ordered group do not wait for each other", async () => {
    const parts = open();
    parts.service.queues.add("orders_to-billing_dlq.fifo");
    const to = { topic: "orders", group: "billing", deadLetter: true } as const;
    await parts.sender.send([item("a", to, { key: "k" }), item("b", to, { key: "k" })], never);
    const groups = entriesOf(parts.service.of(SendMessageBatchCommand)[0]).map((entry) => entry["MessageGroupId"]);
    expect(new Set(groups).size).toBe(2);
  });
});

describe("delays", () => {
  const group = { topic: "orders", group: "billing" } as const;

  test("of a group are the queue's, rounded up, and at most fifteen minutes at a time", async () => {
    const parts = open();
    parts.service.queues.add("orders_to-billing");
    const nowMs = parts.world.now();
    const dues = [nowMs - 1, nowMs + 1, nowMs + 899_500, nowMs + 3_600_000];
    await parts.sender.send(
      dues.map((due, n) => item(`${n}`, group, { due })),
      never,
    );
    const delays = entriesOf(parts.service.of(SendMessageBatchCommand)[0]).map((entry) => entry["DelaySeconds"]);
    expect(delays).toEqual([undefined, 1, 900, 900]);
  });

  test.each<[string, Destination]>([
    ["a topic", { topic: "orders" }],
    ["an ordered group", { topic: "orders", group: "billing" }],
  ])("of %s are spent in the waiting place", async (_, to) => {
    const parts = open();
    parts.service.queues.add("sluice_delayed").add("orders_to-billing.fifo");
    await parts.sender.send([item("a", to, { due: parts.world.now() + 5_000 })], never);
    const [input] = parts.service.of(SendMessageBatchCommand);
    expect(input?.["QueueUrl"]).toBe("http://sqs/sluice_delayed");
    const [entry] = entriesOf(input);
    expect(entry?.["DelaySeconds"]).toBe(5);
    expect(JSON.stringify(entry)).toContain("sluice-to");
  });

  test("that are over go straight on", async () => {
    const parts = open();
    await parts.sender.send([item("a", { topic: "orders" }, { due: parts.world.now() })], never);
    expect(parts.service.of(PublishBatchCommand)).toHaveLength(1);
  });

  test("keep a message from a poll that nobody waits for any more", async () => {
    const parts = open();
    parts.service.queues.add("orders_to-billing");
    parts.stale(1_500);
    await parts.sender.send([item("a", group)], never);
    expect(entriesOf(parts.service.of(SendMessageBatchCommand)[0])).toMatchObject([{ DelaySeconds: 2 }]);
  });
});

test("after close nothing leaves", async () => {
  const parts = open();
  await parts.sender.close(never);
  expect(outcomes(await parts.sender.send([item("a")], never))).toEqual(["not-stored ABORTED"]);
  expect(await parts.sender.closed).toBeUndefined();
});
