import { DeleteMessageBatchCommand, type Message } from "@aws-sdk/client-sqs";
import { type Delivery, emptyHeaders, type Headers, wire } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { pack } from "../src/attributes.ts";
import { bodies, open } from "./support/receiving.ts";
import { message } from "./support/service.ts";

const never = new AbortController().signal;

/** What core writes when a group gives a message up. */
const reasons = {
  "dlq-reason": "exhausted",
  "dlq-error-type": "Error",
  "dlq-error-message": "no",
  "dlq-attempts": "3",
  "dlq-failed-at": "2026-01-01T00:00:00.000Z",
  "dlq-first-failed-at": "2026-01-01T00:00:00.000Z",
  "dlq-consumer-group": "g",
  "dlq-chain": "q/g",
};
const ours = { [wire.id]: "m-1", [wire.time]: "1700000000123", [wire.hop]: "3" };
const letter = { ...ours, ...reasons, region: "eu", [wire.expiresAt]: "1" };

function arriving(headers: Record<string, string>, system: Message["Attributes"] = {}): Message {
  const given = message("A");
  const all = Object.assign<Headers, Headers>(emptyHeaders(), headers);
  const MessageAttributes = pack(all, undefined, {}) as Message["MessageAttributes"];
  return { ...given, MessageAttributes, Attributes: { ...given.Attributes, ...system } };
}

/** What core gets of it. */
async function take(message: Message, queue = "q") {
  const parts = open({ queues: [queue] });
  const receiving = parts.receiver.receive(10, never);
  await parts.world.settle();
  parts.service.polls[0]?.answer([message]);
  await parts.world.settle();
  const stop = parts.receiver.stop(never);
  await parts.world.run(stop);
  const deliveries: readonly Delivery[] = await receiving;
  return { ...parts, deliveries, deleted: parts.service.of(DeleteMessageBatchCommand) };
}

describe("a dead letter that was moved back as it was", () => {
  test("starts afresh: no reason, no expiry, one redrive more; and it remembers where it died first", async () => {
    const { deliveries, copies } = await take(arriving(letter, { ApproximateReceiveCount: "2" }));
    expect(deliveries).toHaveLength(1);
    expect(deliveries[0]).toMatchObject({ id: "m-1", time: 1_700_000_000_123, deliveries: 1 });
    expect({ ...deliveries[0]?.headers }).toEqual({
      region: "eu",
      "dlq-first-failed-at": reasons["dlq-first-failed-at"],
      "dlq-chain": "q/g",
      [wire.hop]: "3",
      [wire.redrives]: "1",
    });
    expect(copies).toEqual([]);
  });

  test("counts its redrives", async () => {
    const { deliveries } = await take(arriving({ ...letter, [wire.redrives]: "4" }));
    expect(deliveries[0]?.headers[wire.redrives]).toBe("5");
  });

  test("with the receipts of its former life goes on as a copy: they would look like crashes", async () => {
    const { deliveries, copies, deleted } = await take(arriving(letter, { ApproximateReceiveCount: "3" }));
    expect(deliveries).toEqual([]);
    expect(copies).toHaveLength(1);
    expect(copies[0]).toMatchObject({ to: { topic: "q", group: "g" }, record: { id: "m-1", dedupId: "m-1/4" } });
    expect(copies[0]?.record.headers).toMatchObject({ region: "eu", [wire.hop]: "4", [wire.redrives]: "1" });
    expect(Object.keys(copies[0]?.record.headers ?? {})).not.toContain("dlq-reason");
    expect(deleted).toHaveLength(1);
  });

  test("in a FIFO queue goes on as a copy in the order of its key", async () => {
    const astray = arriving({ ...letter, [wire.key]: "k" }, { MessageGroupId: "m-1/3" });
    const { deliveries, copies, deleted } = await take(astray, "q.fifo");
    expect([bodies(deliveries), copies.map(({ record }) => record.key), deleted.length]).toEqual([[], ["k"], 1]);
  });

  test("without a key, or in its group, is at home in a FIFO queue", async () => {
    for (const more of [{ MessageGroupId: "m-1/3" }, { MessageGroupId: "k", key: "k" }]) {
      const { key, ...system } = { key: undefined, ...more };
      const home = arriving({ ...letter, ...(key !== undefined && { [wire.key]: key }) }, system);
      const { deliveries, copies } = await take(home, "q.fifo");
      expect([bodies(deliveries), copies]).toEqual([["A"], []]);
    }
  });

  test("by the queue's own policy has no reason with it, and starts afresh all the same", async () => {
    const system = { DeadLetterQueueSourceArn: "arn:aws:sqs:x:1:q", ApproximateReceiveCount: "102" };
    const { deliveries, copies } = await take(
      arriving({ ...ours, [wire.attempts]: "2", [wire.handOuts]: "2" }, system),
    );
    expect(deliveries).toEqual([]);
    expect({ ...copies[0]?.record.headers }).toEqual({ [wire.hop]: "4", [wire.redrives]: "1" });
  });
});

test.each([
  ["a message that somebody published with the headers of a dead letter", { ...reasons }],
  ["its retry", { ...ours, ...reasons, [wire.attempts]: "1" }],
  ["its copy after a crash", { ...ours, ...reasons, [wire.handOuts]: "2" }],
])("%s is no dead letter", async (_, headers) => {
  const { deliveries, copies } = await take(arriving(headers, { ApproximateReceiveCount: "5" }));
  expect(deliveries[0]).toMatchObject({ deliveries: 5, headers: { "dlq-reason": "exhausted" } });
  expect(deliveries[0]?.headers[wire.redrives]).toBeUndefined();
  expect(copies).toEqual([]);
});
