import { type Delivery, emptyHeaders, type OutgoingRecord } from "@sluice/core/driver";
import type { ConsumeMessage } from "amqplib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromNative, toNative } from "../src/record.ts";
import { decodeTable, encodeTable } from "./support/codec.ts";

const source = { topic: "orders", group: "billing", start: "now" } as const;
const origin = { source, shard: "orders.billing", counts: true };
const longestHeaders = 60_000;

function record(more: Partial<OutgoingRecord> = {}): OutgoingRecord {
  return {
    id: "m-1",
    dedupId: "m-1/0",
    key: null,
    body: Buffer.from("x"),
    headers: emptyHeaders(),
    time: 1_700_000_000_123,
    ...more,
  };
}

/** What the broker would hand out for what we publish. */
function received({ content, options }: ReturnType<typeof toNative>, fields: object = {}): ConsumeMessage {
  const { headers, ...properties } = options;
  return {
    content,
    fields: { deliveryTag: 1, redelivered: false, exchange: "orders", routingKey: "u", consumerTag: "c", ...fields },
    properties: { ...properties, headers: decodeTable(encodeTable(headers)) },
  } as unknown as ConsumeMessage;
}

function foreign(properties: object, content = "{}", fields: object = {}): ConsumeMessage {
  const message = received(toNative(record(), { longestHeaders }), fields);
  message.content = Buffer.from(content);
  message.properties = { headers: {}, ...properties } as ConsumeMessage["properties"];
  return message;
}

function there(message: ConsumeMessage): Delivery {
  return fromNative(message, origin);
}

describe("our own records", () => {
  test("arrive as they were sent", () => {
    const bytes = fc.uint8Array().map((each) => new Uint8Array(each));
    fc.assert(
      fc.property(
        fc.record({
          id: fc.string({ unit: "grapheme", maxLength: 20 }),
          key: fc.oneof(fc.constant(null), fc.string({ unit: "grapheme", maxLength: 50 }), bytes),
          body: fc.oneof(fc.constant(null), bytes),
          time: fc.integer({ min: 0, max: 4_102_444_800_000 }),
        }),
        (given) => {
          const delivery = there(received(toNative(record(given), { longestHeaders })));
          expect(delivery).toMatchObject({ id: given.id, time: given.time, deliveries: 1 });
          expect(delivery.key).toEqual(given.key);
          expect(delivery.body).toEqual(given.body);
          expect(Object.keys(delivery.headers)).toEqual([]);
        },
      ),
    );
  });

  test("are persistent, mandatory, and say their time in whole seconds for others", () => {
    const headers = Object.assign(emptyHeaders(), { "content-type": "text/plain", a: "1" });
    const { options } = toNative(record({ headers, key: "k" }), { longestHeaders });
    expect(options).toMatchObject({
      persistent: true,
      mandatory: true,
      messageId: "m-1",
      contentType: "text/plain",
      timestamp: 1_700_000_000,
    });
    expect({ ...options.headers }).toEqual({ a: "1", "sluice-key": "k", "sluice-time": "1700000000123" });
    expect(there(received(toNative(record({ headers }), { longestHeaders }))).headers).toEqual(headers);
  });

  test("a tombstone is not an empty body", () => {
    expect(there(received(toNative(record({ body: null }), { longestHeaders }))).body).toBeNull();
    expect(there(received(toNative(record({ body: new Uint8Array() }), { longestHeaders }))).body).toEqual(
      new Uint8Array(),
    );
  });

  test("a body that is a part of a larger buffer is sent alone", () => {
    const body = new Uint8Array([1, 2, 3, 4]).subarray(1, 3);
    expect([...toNative(record({ body }), { longestHeaders }).content]).toEqual([2, 3]);
  });

  test.each([
    ["an id of 256 bytes", { id: "ü".repeat(128) }],
    ["a key with half a character", { key: "\udfff" }],
    ["a content type of 256 bytes", { headers: Object.assign(emptyHeaders(), { "content-type": "x".repeat(256) }) }],
  ])("%s is refused", (_, more) => {
    expect(() => toNative(record(more), { longestHeaders })).toThrow(
      expect.objectContaining({ code: "INVALID_MESSAGE" }),
    );
  });

  test("headers above the limit are refused", () => {
    const headers = Object.assign(emptyHeaders(), { a: "x".repeat(2_000) });
    expect(() => toNative(record({ headers }), { longestHeaders: 1_000 })).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    );
  });
});

describe("foreign messages", () => {
  test("a plain one has no id, no key and no time", () => {
    expect(there(foreign({}))).toMatchObject({ id: undefined, key: null, time: undefined, deliveries: 1 });
  });

  test("a message without a header table is read", () => {
    expect(there(foreign({ headers: undefined })).headers).toEqual(emptyHeaders());
  });

  test("properties are read", () => {
    const delivery = there(foreign({ messageId: "f-1", timestamp: 1_700_000_000, contentType: "application/json" }));
    expect(delivery).toMatchObject({ id: "f-1", time: 1_700_000_000_000 });
    expect(delivery.headers["content-type"]).toBe("application/json");
  });

  test("a copy keeps what strings cannot hold, and drops what would harm it", () => {
    const message = foreign({
      correlationId: "c",
      replyTo: "r",
      type: "t",
      appId: "a",
      contentEncoding: "gzip",
      priority: 3,
      expiration: "10",
      userId: "u",
      headers: {
        number: 7,
        list: [1, "a"],
        bytes: Buffer.from([1]),
        none: null,
        "x-death": [{ count: 1 }],
        CC: ["q"],
        "x-delivery-count": 4,
      },
    });
    const delivery = there(message);
    const headers = Object.assign(emptyHeaders(), delivery.headers, { "dlq-reason": "exhausted" });
    const { options } = toNative(record({ headers }), { from: delivery.native, longestHeaders });
    expect({ ...options.headers }).toEqual({
      number: 7,
      list: [1, "a"],
      bytes: Buffer.from([1]),
      none: null,
      "dlq-reason": "exhausted",
      "sluice-time": "1700000000123",
    });
    expect(options).toMatchObject({
      correlationId: "c",
      replyTo: "r",
      type: "t",
      appId: "a",
      contentEncoding: "gzip",
      priority: 3,
    });
    expect(options).not.toHaveProperty("expiration");
    expect(options).not.toHaveProperty("userId");
  });

  test("a copy of another broker's message takes nothing from its native part", () => {
    const { options } = toNative(record(), { from: { headers: { a: 1 }, partition: 3 }, longestHeaders });
    expect(Object.keys(options.headers)).toEqual(["sluice-time"]);
  });

  test("the content does not pin the buffer it was read from", () => {
    const read = Buffer.alloc(65_536, 1);
    const message = foreign({});
    message.content = read.subarray(10, 20);
    const { body } = there(message);
    expect(body).toEqual(new Uint8Array(10).fill(1));
    expect(body?.buffer.byteLength).toBe(10);
    expect(message.content.buffer.byteLength).toBe(10);
  });
});

describe("deliveries", () => {
  test.each([
    ["first delivery", {}, {}, true, 1],
    ["third delivery", { "x-delivery-count": 2 }, { redelivered: true }, true, 3],
    ["a queue that does not count, first", {}, {}, false, 1],
    ["a queue that does not count, later", {}, { redelivered: true }, false, undefined],
  ])("%s", (_, headers, fields, counts, expected) => {
    expect(fromNative(foreign({ headers }, "{}", fields), { ...origin, counts }).deliveries).toBe(expected);
  });
});

describe("dead letters", () => {
  const dead = {
    source: { topic: "orders", group: "billing", deadLetter: true } as const,
    shard: "orders.billing.dlq",
    counts: true,
  };

  test.each([
    ["delivery_limit", "crash-suspect"],
    ["expired", "expired"],
    ["rejected", "rejected"],
    ["maxlen", "rejected"],
  ])("those of the broker say why: %s", (native, reason) => {
    const { headers } = fromNative(foreign({ headers: { "x-first-death-reason": native } }), dead);
    expect(headers).toMatchObject({
      "dlq-reason": reason,
      "dlq-error-message": `dead-lettered by the broker: ${native}`,
    });
  });

  test("ours keep their own reason", () => {
    const { headers } = fromNative(
      foreign({ headers: { "dlq-reason": "invalid", "x-first-death-reason": "expired" } }),
      dead,
    );
    expect(headers).toEqual(Object.assign(emptyHeaders(), { "dlq-reason": "invalid" }));
  });
});

describe("what other programs look at", () => {
  const event = {
    "content-type": "application/json",
    cloudEvents_specversion: "1.0",
    cloudEvents_id: "1234-1234-1234",
    cloudEvents_source: "/mycontext/subcontext",
    cloudEvents_type: "com.example.someevent",
    cloudEvents_time: "2018-04-05T03:56:24Z",
    "correlation-id": "flow-1",
  };

  test("the type of an event and the flow are properties, too", () => {
    const { options } = toNative(
      record({ id: "1234-1234-1234", time: 1_522_900_584_000, headers: Object.assign(emptyHeaders(), event) }),
      { longestHeaders },
    );
    expect(options).toMatchObject({
      contentType: "application/json",
      messageId: "1234-1234-1234",
      type: "com.example.someevent",
      timestamp: 1_522_900_584,
      correlationId: "flow-1",
      persistent: true,
    });
  });

  test("what is too long for a property is in the headers alone", () => {
    const type = "t".repeat(256);
    const headers = Object.assign(emptyHeaders(), { "ce-type": type });
    const { options } = toNative(record({ headers }), { longestHeaders });
    expect(options.type).toBeUndefined();
    expect(options.headers["ce-type"]).toBe(type);
  });

  test("a native time is text, and stays native in a copy", () => {
    const time = { "!": "timestamp", value: 1_522_900_584 };
    const message = foreign({ headers: { cloudEvents_time: time, "ce-id": "1" } });
    expect(there(message).headers).toMatchObject({ cloudEvents_time: "2018-04-05T03:56:24.000Z", "ce-id": "1" });
    const delivery = there(message);
    const copy = toNative(record({ headers: delivery.headers }), { from: message, longestHeaders });
    expect(copy.options.headers["cloudEvents_time"]).toEqual(time);
    // As the bytes of its table say: `T` and 64 bits of seconds.
    expect(encodeTable({ t: time }).toString("hex")).toContain("54000000005ac59e68");
  });

  test("a time that no date can be stays in the native message", () => {
    const message = foreign({ headers: { t: { "!": "timestamp", value: Number.MAX_SAFE_INTEGER } } });
    expect(there(message).headers["t"]).toBeUndefined();
  });
});
