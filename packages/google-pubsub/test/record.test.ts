import { emptyHeaders, type GroupSource, type OutgoingRecord } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { fromNative, toNative } from "../src/record.ts";

const source: GroupSource = { topic: "orders", group: "billing", start: "now" };
const subscription = "projects/p/subscriptions/orders~billing";

function record(more: Partial<OutgoingRecord> = {}): OutgoingRecord {
  const body = Buffer.from("{}");
  return { id: "m-1", dedupId: "m-1/0", key: null, body, headers: emptyHeaders(), time: 1_700_000_000_123, ...more };
}

function thereAndBack(more: Partial<OutgoingRecord>) {
  const message = toNative({ to: { topic: "orders" }, record: record(more) }, false);
  return { message, delivery: fromNative({ ackId: "a", message }, source, subscription) };
}

describe("record", () => {
  test("id, time, body and headers", () => {
    const headers = Object.assign(emptyHeaders(), { "x-a": "1" });
    const { delivery } = thereAndBack({ headers });
    expect(delivery).toMatchObject({ id: "m-1", time: 1_700_000_000_123, key: null, shard: subscription });
    expect(delivery.headers).toEqual(headers);
    expect(Buffer.from(delivery.body ?? []).toString()).toBe("{}");
    expect(delivery.deliveries).toBeUndefined();
  });

  test.each<readonly [string, OutgoingRecord["key"], string]>([
    ["text", "customer-1", "customer-1"],
    ["empty text", "", "sluice-empty-key"],
    ["bytes", new Uint8Array([0, 255, 1]), "AP8B"],
    ["no bytes", new Uint8Array(), "sluice-empty-key"],
  ])("a key of %s", (_, key, orderingKey) => {
    const { message, delivery } = thereAndBack({ key });
    expect(message.orderingKey).toBe(orderingKey);
    expect(delivery.key).toEqual(key);
    expect(delivery.shard).toBe(`${subscription} ${orderingKey}`);
  });

  test("null and empty bodies are not the same", () => {
    expect(thereAndBack({ body: null }).delivery.body).toBeNull();
    expect(thereAndBack({ body: new Uint8Array() }).delivery.body).toEqual(new Uint8Array());
  });

  test("the body is a copy: the native one is a slice of a response", () => {
    const data = Buffer.from("shared");
    const { body } = fromNative({ ackId: "a", message: { data, messageId: "7" } }, source, subscription);
    data.fill(0);
    expect(Buffer.from(body ?? []).toString()).toBe("shared");
  });

  test("a foreign message has the service's id and time, and its ordering key", () => {
    const publishTime = { seconds: 1_700_000_000, nanos: 5_000_000 };
    const message = { data: Buffer.from("x"), messageId: "7", publishTime, orderingKey: "k" };
    const delivery = fromNative({ ackId: "a", message, deliveryAttempt: 2 }, source, subscription);
    expect(delivery).toMatchObject({ id: "7", time: 1_700_000_000_005, key: "k", deliveries: 2 });
    expect(delivery.native).toMatchObject({ messageId: "7", subscription, deliveryAttempt: 2 });
  });

  test("what waits says where it goes and when, and is in no order meanwhile", () => {
    const to = { topic: "orders", group: "billing" };
    const message = toNative({ to, notBefore: 42, record: record({ key: "k" }) }, true);
    expect(message.orderingKey).toBe("");
    const delivery = fromNative({ ackId: "a", message }, { delayed: true }, subscription);
    expect(delivery).toMatchObject({ key: "k", forward: { to, notBefore: 42 } });
  });

  test("a native dead letter says why it is there", () => {
    const attributes = { CloudPubSubDeadLetterSourceDeliveryCount: "100" };
    const { topic, group } = source;
    const delivery = fromNative(
      { message: { attributes, messageId: "7" } },
      { topic, group, deadLetter: true },
      subscription,
    );
    expect(delivery.headers["dlq-reason"]).toBe("crash-suspect");
  });

  test.each([
    ["a key of 1,025 bytes", { key: "k".repeat(1_025) }],
    ["half a character as key", { key: "\ud800" }],
    ["769 bytes as key", { key: new Uint8Array(769) }],
    ["an id of 1,025 bytes", { id: "i".repeat(1_025) }],
  ])("%s is refused before the wire", (_, more) => {
    expect(() => thereAndBack(more)).toThrow(expect.objectContaining({ code: "INVALID_MESSAGE" }));
  });
});
