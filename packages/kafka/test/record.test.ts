import {
  type Delivery,
  type Headers,
  type OutgoingRecord,
  type SendItem,
  type Source,
  emptyHeaders,
} from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import type { ClientRecord } from "../src/client.ts";
import { type KafkaMessage, dueOf, fromKafka, toKafka } from "../src/record.ts";

const now = 1_795_000_000_000;
const source: Source = { topic: "orders", group: "billing", start: "now" };
const headers = (values: Record<string, string>): Headers => Object.assign(emptyHeaders(), values);
const record = (fields: Partial<OutgoingRecord> = {}): OutgoingRecord => ({
  id: "m-1",
  dedupId: "m-1/0",
  key: "k",
  body: Buffer.from("body"),
  headers: headers({ a: "1" }),
  time: now,
  ...fields,
});

/** What a reader gets of what a writer appended. */
function appended(item: SendItem, waiting = false): ClientRecord {
  const written = toKafka(item, now, waiting);
  const read = Object.entries(written.headers).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.map(bytes) : bytes(value),
  ]);
  return {
    offset: "7",
    timestamp: written.timestamp,
    key: written.key,
    value: written.value,
    headers: Object.fromEntries(read),
  };
}
const bytes = (value: string | Buffer): Buffer => Buffer.from(value);
const delivered = (read: ClientRecord, from: Source = source): Delivery =>
  fromKafka(read, { topic: "orders", partition: 2 }, { source: from, shard: "orders/2", deliveries: 1, fence: 5n });
const back = (item: SendItem): Delivery => delivered(appended(item));

describe("a record of ours", () => {
  test("comes back as it went", () => {
    const delivery = back({ to: { topic: "orders" }, record: record() });
    expect(delivery).toMatchObject({ id: "m-1", key: "k", time: now, shard: "orders/2", deliveries: 1, fence: 5n });
    expect(delivery.headers).toEqual(headers({ a: "1" }));
    expect("toString" in delivery.headers).toBe(false);
    expect(Buffer.from(delivery.body ?? [])).toEqual(Buffer.from("body"));
  });

  test.each([
    ["no key", null],
    ["the empty key", ""],
    ["text", "schlüssel"],
    ["bytes that are no text", new Uint8Array([0xff, 0x00])],
  ])("keeps %s", (_what, key) => {
    const got = back({ to: { topic: "orders" }, record: record({ key }) }).key;
    expect(got instanceof Uint8Array ? new Uint8Array(got) : got).toEqual(key);
  });

  test("a tombstone stays one, and an empty body stays empty", () => {
    expect(back({ to: { topic: "orders" }, record: record({ body: null }) }).body).toBeNull();
    expect(back({ to: { topic: "orders" }, record: record({ body: new Uint8Array(0) }) }).body).toHaveLength(0);
  });

  test("a header may be called __proto__", () => {
    const delivery = back({
      to: { topic: "orders" },
      record: record({ headers: headers({ ["__proto__"]: "x", b: "" }) }),
    });
    expect(Object.entries(delivery.headers)).toEqual([
      ["__proto__", "x"],
      ["b", ""],
    ]);
  });

  test("a copy of an old message gets a new timestamp, or retention would delete it, and keeps its time", () => {
    const old = now - 40 * 86_400_000;
    const read = appended({
      to: { topic: "orders", group: "billing", deadLetter: true },
      record: record({ time: old }),
    });
    expect(read.timestamp).toBe(String(now));
    expect(delivered(read).time).toBe(old);
  });

  test("in a waiting place it says where it goes and when, and forgets that when it is forwarded", () => {
    const to = { topic: "orders", group: "billing" } as const;
    const read = appended({ to, record: record(), notBefore: now + 5_000 }, true);
    expect(dueOf(read)).toBe(now + 5_000);
    const waiting = delivered(read, { delayed: true });
    expect(waiting.forward).toEqual({ to, notBefore: now + 5_000 });
    expect(waiting.headers).toEqual(headers({ a: "1" }));
    const arrived = back({ to, record: record({ headers: waiting.headers }), from: waiting });
    expect(arrived.forward).toBeUndefined();
    expect(arrived.headers).toEqual(headers({ a: "1" }));
  });
});

describe("a foreign record", () => {
  const foreign: ClientRecord = {
    offset: "41",
    timestamp: "1600000000000",
    key: Buffer.from([0xfe]),
    value: null,
    headers: {
      plain: Buffer.from("text"),
      binary: Buffer.from([0xff, 0xfe]),
      repeated: [Buffer.from("one"), null, Buffer.from("")],
      nothing: null,
      // What kafkajs makes of a header with this name.
      ["__proto__"]: [Object.prototype as unknown as Buffer, Buffer.from("p")],
    },
  };

  test("is readable, with a stable id made of its place", () => {
    const delivery = delivered(foreign);
    expect(delivery).toMatchObject({ id: "orders/2/41", body: null, time: 1_600_000_000_000 });
    expect(delivery.headers["plain"]).toBe("text");
    expect(delivery.headers["repeated"]).toBe("");
    expect("nothing" in delivery.headers).toBe(false);
    expect(delivery.headers["__proto__"]).toBe("p");
  });

  test("survives a move: bytes, repeats and the null body stay, changed headers change, removed ones go", () => {
    const delivery = delivered(foreign);
    const changed = headers({ ...delivery.headers, "sluice-attempts": "1", plain: "other" });
    delete changed["binary"];
    const kept = headers({ ...delivery.headers });
    const to = { topic: "orders", group: "billing" } as const;
    const same = toKafka(
      { to, record: record({ body: delivery.body, key: delivery.key, headers: kept }), from: delivery },
      now,
      false,
    );
    expect(same.headers["binary"]).toEqual(Buffer.from([0xff, 0xfe]));
    expect(same.headers["repeated"]).toEqual(["one", "", ""]);
    expect(same.value).toBeNull();
    expect(same.key).toEqual(Buffer.from([0xfe]));
    const other = toKafka({ to, record: record({ headers: changed }), from: delivery }, now, false);
    expect(other.headers["plain"]).toBe("other");
    expect(other.headers["sluice-attempts"]).toBe("1");
    expect("binary" in other.headers).toBe(false);
  });

  test("a header that was null is written as empty, and read as absent again", () => {
    const delivery = delivered(foreign);
    const moved = back({
      to: { topic: "orders", group: "billing" },
      record: record({ headers: delivery.headers }),
      from: delivery,
    });
    expect("nothing" in moved.headers).toBe(false);
    const again = back({
      to: { topic: "orders", group: "billing" },
      record: record({ headers: moved.headers }),
      from: moved,
    });
    expect((again.native as KafkaMessage).headers["nothing"]).toBeNull();
  });

  test("does not keep the fetch answer in memory", () => {
    const answer = Buffer.alloc(1_000_000, "x");
    const native = delivered({ ...foreign, value: answer.subarray(5, 25), headers: { binary: Buffer.from([0xff]) } })
      .native as KafkaMessage;
    expect(native.value).toEqual(Buffer.alloc(20, "x"));
    expect(native.value?.buffer.byteLength).toBeLessThan(100_000);
  });
});

describe("ids of schemas, which Kafka's clients write as bytes", () => {
  const guid = "018ef66e2750c84f9dac730b7de2e6ec7a";
  const read = (values: ClientRecord["headers"]): Delivery =>
    delivered({
      offset: "1",
      timestamp: String(now),
      key: null,
      value: Buffer.from("x"),
      ...(values && { headers: values }),
    });
  const moved = (from: Delivery, wanted: Headers = from.headers) =>
    toKafka({ to: { topic: "orders", group: "billing" }, record: record({ headers: wanted }), from }, now, false)
      .headers;

  test.each(["__value_schema_id", "__key_schema_id"])("%s is bytes on the wire and hex text in headers", (name) => {
    const written = toKafka(
      { to: { topic: "orders" }, record: record({ headers: headers({ [name]: guid }) }) },
      now,
      false,
    );
    expect(written.headers[name]).toEqual(Buffer.from(guid, "hex"));
    expect(read({ [name]: Buffer.from(guid, "hex") }).headers[name]).toBe(guid);
  });

  test("bytes that happen to be UTF-8 are hex text, too, and native ones stay what they are", () => {
    const delivery = read({ __value_schema_id: Buffer.from("\u0001abcdefghijklmnop") });
    expect(delivery.headers["__value_schema_id"]).toBe("016162636465666768696a6b6c6d6e6f70");
    expect((delivery.native as KafkaMessage).headers["__value_schema_id"]).toBe("\u0001abcdefghijklmnop");
  });

  test("a copy has the same bytes, repeats included; a changed one is changed", () => {
    const first = Buffer.from("0000000007", "hex");
    const delivery = read({ __value_schema_id: [first, Buffer.from(guid, "hex")], __key_schema_id: Buffer.alloc(0) });
    expect(delivery.headers).toEqual(headers({ __value_schema_id: guid, __key_schema_id: "" }));
    expect(moved(delivery)["__value_schema_id"]).toEqual(["\0\0\0\0\u0007", Buffer.from(guid, "hex")]);
    expect(moved(delivery)["__key_schema_id"]).toBe("");
    const changed = headers({ __value_schema_id: "0000000008" });
    expect(moved(delivery, changed)["__value_schema_id"]).toEqual(Buffer.from("0000000008", "hex"));
  });

  test("other headers keep their text, and what is no hex text is written as it is", () => {
    const given = headers({ other: guid, __value_schema_id: "not hex" });
    const written = toKafka({ to: { topic: "orders" }, record: record({ headers: given }) }, now, false);
    expect(written.headers["other"]).toBe(guid);
    expect(written.headers["__value_schema_id"]).toBe("not hex");
  });
});
