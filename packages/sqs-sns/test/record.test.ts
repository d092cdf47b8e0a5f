import type { Message } from "@aws-sdk/client-sqs";
import { type Delivery, emptyHeaders, type Headers, type OutgoingRecord, type SendItem } from "@sluice/core/driver";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Attribute, sizeOf } from "../src/attributes.ts";
import { deduplicationId, fromNative, groupId, type NativeRecord, toNative } from "../src/record.ts";

const source = { topic: "orders", group: "billing", start: "now" } as const;

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

function sent(more: Partial<OutgoingRecord> = {}, item: Partial<SendItem> = {}): NativeRecord {
  return toNative({ to: { topic: "orders" }, record: record(more), ...item }, undefined);
}

/** What the queue hands out for what was sent. */
function received({ body, attributes }: NativeRecord, system: Message["Attributes"] = {}): Message {
  return {
    MessageId: "9f6c",
    ReceiptHandle: "handle",
    Body: body,
    MessageAttributes: attributes as Message["MessageAttributes"],
    Attributes: { ApproximateReceiveCount: "1", SentTimestamp: "1700000009999", ...system },
  };
}

function there(message: Message): Delivery {
  return fromNative(message).delivery(source, "");
}

function headersOf(entries: readonly (readonly [string, string])[]): Headers {
  return Object.assign<Headers, Headers>(emptyHeaders(), Object.fromEntries(entries));
}

const legal = /^[\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]+$/u;

function expectLegal({ body, attributes, bytes }: NativeRecord): void {
  expect(body).toMatch(legal);
  expect(Object.keys(attributes).length).toBeLessThanOrEqual(10);
  for (const [name, { DataType, StringValue, BinaryValue }] of Object.entries(attributes)) {
    expect(name).toMatch(/^(?!aws\.|amazon\.)[A-Za-z0-9_.-]{1,256}$/i);
    expect(DataType).toMatch(/^(String|Number|Binary)/);
    expect(BinaryValue === undefined ? StringValue : "bytes").toMatch(legal);
  }
  expect(bytes).toBe(Buffer.byteLength(body) + sizeOf(attributes));
}

describe("our own records", () => {
  test("arrive as they were sent, in at most ten legal attributes", () => {
    const text = fc.string({ unit: "binary", maxLength: 40 });
    const bytes = fc.uint8Array().map((each) => new Uint8Array(each));
    fc.assert(
      fc.property(
        fc.record({
          id: fc.string({ minLength: 1, maxLength: 20 }),
          key: fc.oneof(fc.constant(null), text, bytes),
          body: fc.oneof(
            fc.constant(null),
            bytes,
            text.map((each) => new TextEncoder().encode(each)),
          ),
          time: fc.integer({ min: 0, max: 4_102_444_800_000 }),
        }),
        fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 12 }), text), { maxLength: 20 }),
        (given, entries) => {
          const headers = headersOf(entries.filter(([name]) => !name.startsWith("sluice")));
          const native = sent({ ...given, headers });
          expectLegal(native);
          const delivery = there(received(native));
          expect(delivery).toMatchObject({ id: given.id, time: given.time, deliveries: 1 });
          expect(delivery.key).toEqual(given.key);
          expect(delivery.body === null ? null : Buffer.from(delivery.body)).toEqual(
            given.body === null ? null : Buffer.from(given.body),
          );
          expect({ ...delivery.headers }).toEqual({ ...headers });
        },
      ),
      { numRuns: 30 },
    );
  });

  test("show headers as attributes of their own, and the body as it is", () => {
    const native = sent({ body: Buffer.from('{"a":"ü"}'), headers: headersOf([["region", "eu"]]) });
    expect(native.body).toBe('{"a":"ü"}');
    expect(native.attributes["region"]).toEqual({ DataType: "String", StringValue: "eu" });
  });

  test("forty headers share what does not fit; empty and illegal ones too", () => {
    const many = Array.from({ length: 40 }, (_, n) => [`x-${n}`, `${n}`] as const);
    const native = sent({
      headers: headersOf([["empty", ""], ["a:b", "1"], ["AWS.Trace", "2"], [" x", "3"], ...many]),
    });
    expectLegal(native);
    expect(Object.keys(native.attributes)).toContain("sluice-headers");
    const { headers } = there(received(native));
    expect(headers["empty"]).toBe("");
    expect(headers["a:b"]).toBe("1");
    expect(headers["AWS.Trace"]).toBe("2");
    expect(headers["x-39"]).toBe("39");
  });

  test.each([
    ["__proto__", "polluted"],
    ["constructor", "polluted"],
  ])("a header called %s is a header", (name, value) => {
    const headers = emptyHeaders();
    headers[name] = value;
    const delivery = there(received(sent({ headers })));
    expect(delivery.headers[name]).toBe(value);
    expect(Object.keys(delivery.headers)).toEqual([name]);
  });

  test.each([
    ["a byte order mark", Buffer.from("\ufeffa")],
    ["emoji", Buffer.from("🦊")],
    ["a control character", Buffer.from("a\u0001b")],
    ["half a surrogate in UTF-8", Buffer.from([0xed, 0xa0, 0x80])],
    ["nothing", Buffer.alloc(0)],
  ])("a body with %s", (_, body) => {
    const native = sent({ body });
    expectLegal(native);
    expect(Buffer.from(there(received(native)).body ?? "null")).toEqual(body);
  });

  test("say where they wait, and until when", () => {
    const item = { to: { topic: "orders" }, record: record(), notBefore: 5_000 };
    const elsewhere = fromNative(received(toNative(item, "elsewhere")));
    expect(elsewhere).toMatchObject({ to: { topic: "orders" }, notBefore: 5_000 });
    expect(elsewhere.delivery({ delayed: true }, "").forward).toEqual({ to: { topic: "orders" }, notBefore: 5_000 });
    const here = fromNative(received(toNative(item, "here")));
    expect(here).toMatchObject({ to: undefined, notBefore: 5_000 });
    expect({ ...here.delivery(source, "").headers }).toEqual({});
  });
});

describe("ids of a FIFO queue", () => {
  test("a key that is legal is the group, others are known by their digest", () => {
    expect(groupId(record({ key: "customer-7" }))).toBe("customer-7");
    for (const key of ["", "with blank", "ü", "x".repeat(129), new Uint8Array([1])]) {
      expect(groupId(record({ key }))).toMatch(/^sluice-[0-9a-f]{64}$/);
    }
    expect(groupId(record({ key: "a b" }))).not.toBe(groupId(record({ key: "a  b" })));
  });

  test("without a key nothing waits for anything", () => {
    expect(groupId(record({ dedupId: "m-1/0" }))).not.toBe(groupId(record({ dedupId: "m-2/0" })));
  });

  test("a write is deduplicated, not a message", () => {
    expect(deduplicationId(record({ dedupId: "m-1/0" }))).toBe("m-1/0");
    expect(deduplicationId(record({ dedupId: "m-1/1" }))).toBe("m-1/1");
    expect(deduplicationId(record({ dedupId: `${"x".repeat(128)}/0` }))).toHaveLength(71);
  });
});

/** Those for which there was no room. */
function bytesOf({ attributes }: NativeRecord): unknown {
  const metadata = JSON.parse(attributes["sluice"]?.StringValue ?? "{}") as Record<string, string>;
  return JSON.parse(metadata["sluice-binary-attributes"] ?? "{}");
}

describe("foreign messages", () => {
  const attributes: Record<string, Attribute> = {
    "x-note": { DataType: "String", StringValue: "Grüße" },
    "x-count": { DataType: "Number", StringValue: "7" },
    "x-bytes": { DataType: "Binary", BinaryValue: new Uint8Array([255, 0]) },
  };
  const message = received({ body: "plain", attributes, bytes: 0 }, { MessageGroupId: "customer-7" });

  test("are read as they are", () => {
    const delivery = there(message);
    expect(delivery).toMatchObject({ id: "9f6c", key: "customer-7", time: 1_700_000_009_999 });
    expect(Buffer.from(delivery.body ?? "").toString()).toBe("plain");
    expect({ ...delivery.headers }).toEqual({ "x-note": "Grüße", "x-count": "7" });
  });

  test("keep data types and bytes in every copy", () => {
    let native = message;
    for (let copy = 1; copy <= 3; copy++) {
      const from = there(native);
      const { id = "", key, body, headers } = from;
      const next = sent({ id, key, body, headers }, { from });
      expectLegal(next);
      expect(next.attributes["x-bytes"]).toEqual(attributes["x-bytes"]);
      expect(next.attributes["x-count"]).toEqual(attributes["x-count"]);
      native = received(next);
    }
    expect(there(native).id).toBe("9f6c");
  });

  test("with ten binary attributes keep all of them", () => {
    const ten = Object.fromEntries(
      Array.from({ length: 10 }, (_, n) => [`b${n}`, { DataType: "Binary", BinaryValue: new Uint8Array([n]) }]),
    );
    const from = there(received({ body: "plain", attributes: ten, bytes: 0 }));
    const first = sent({ headers: from.headers }, { from });
    expectLegal(first);
    const again = there(received(first));
    const second = sent({ headers: again.headers }, { from: again });
    expectLegal(second);
    expect(bytesOf(second)).toEqual(bytesOf(first));
    expect(Object.keys(second.attributes)).toEqual(Object.keys(first.attributes));
  });

  test("come out of SNS's envelope with the same body and headers", () => {
    const Message = "plain";
    const MessageAttributes = {
      "x-note": { Type: "String", Value: "Grüße" },
      "x-bytes": { Type: "Binary", Value: Buffer.from([255, 0]).toString("base64") },
    };
    const envelope = {
      Type: "Notification",
      MessageId: "1",
      TopicArn: "arn:aws:sns:x:1:t",
      Message,
      MessageAttributes,
    };
    const delivery = there(received({ body: JSON.stringify(envelope, null, 2), attributes: {}, bytes: 0 }));
    expect(Buffer.from(delivery.body ?? "").toString()).toBe("plain");
    expect({ ...delivery.headers }).toEqual({ "x-note": "Grüße" });
    const copy = sent({ headers: delivery.headers }, { from: delivery });
    expect(copy.attributes["x-bytes"]).toEqual({ DataType: "Binary", BinaryValue: Buffer.from([255, 0]) });
  });

  test.each(['{"Type":"Notification"}', '{"Type":"Notification", broken', "{}", "{"])("%s is no envelope", (body) => {
    expect(Buffer.from(there(received({ body, attributes: {}, bytes: 0 })).body ?? "").toString()).toBe(body);
  });

  test("that call an attribute like ours are left alone", () => {
    const odd = {
      sluice: { DataType: "String", StringValue: "[1]" },
      "sluice-headers": { DataType: "String", StringValue: "no" },
    };
    expect({ ...there(received({ body: "x", attributes: odd, bytes: 0 })).headers }).toEqual({});
  });
});
