import { emptyHeaders, type OutgoingRecord, type Source } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { type Fields, fromEntry, toFields } from "../src/record.ts";

const source: Source = { topic: "orders", group: "g", start: "now" };
const origin = { source, stream: "orders", shard: "orders", deliveries: 2, fence: 7n };

function record(parts: Partial<OutgoingRecord> = {}): OutgoingRecord {
  const headers = Object.assign(emptyHeaders(), parts.headers);
  return {
    id: "o-1",
    dedupId: "o-1/0",
    key: null,
    body: Buffer.from("{}"),
    time: 1_700_000_000_123,
    ...parts,
    headers,
  };
}

const buffers = (fields: Fields) => fields.map((field) => Buffer.from(field));
const text = (fields: Fields) => fields.map(String);
const read = (fields: Fields) => fromEntry("1700-5", buffers(fields), origin);

test("few fields, always the same", () => {
  expect(text(toFields(record()))).toEqual(["data", "{}", "sluice-id", "o-1", "sluice-time", "1700000000123"]);
  expect(text(toFields(record({ key: "c-7", headers: { tenant: "acme" } })))).toEqual(
    `data {} key c-7 sluice-id o-1 sluice-time 1700000000123 sluice-headers {"tenant":"acme"}`.split(" "),
  );
});

test.each<[string, Partial<OutgoingRecord>]>([
  ["a body of any bytes", { body: Buffer.from([0, 255, 254, 10]) }],
  ["an empty body", { body: Buffer.alloc(0) }],
  ["no body", { body: null }],
  ["a text key", { key: "Grüße" }],
  ["an empty key", { key: "" }],
  ["a key of bytes", { key: new Uint8Array([255, 0, 254]) }],
  ["headers", { headers: { a: "", "x-ü": "\u0000\r\n", half: "\ud800" } }],
  ["a header named like a field", { headers: { data: "d", key: "k", time: "t" } }],
])("round trip: %s", (_, parts) => {
  const sent = record(parts);
  const got = read(toFields(sent));
  expect(got.body === null ? null : Buffer.from(got.body)).toEqual(sent.body === null ? null : Buffer.from(sent.body));
  expect(got.key === null || typeof got.key === "string" ? got.key : [...got.key]).toEqual(
    sent.key === null || typeof sent.key === "string" ? sent.key : [...sent.key],
  );
  expect({ ...got.headers }).toEqual({ ...sent.headers });
  expect(got).toMatchObject({ id: "o-1", time: 1_700_000_000_123, deliveries: 2, fence: 7n, shard: "orders" });
});

test("a header called __proto__ arrives", () => {
  const headers = emptyHeaders();
  headers["__proto__"] = "polluted";
  const got = read(toFields(record({ headers })));
  expect(Object.keys(got.headers)).toEqual(["__proto__"]);
  expect(got.headers["__proto__"]).toBe("polluted");
});

test.each<[string, Partial<OutgoingRecord>]>([
  ["a key with half a character", { key: "\ud800" }],
  ["an id with half a character", { id: "\udc00" }],
])("refused: %s", (_, parts) => {
  expect(() => toFields(record(parts))).toThrow(/^redis: .*half a character/);
});

describe("foreign entries", () => {
  test("with data: other fields are headers", () => {
    const got = read(["data", "hello", "key", "c-7", "x-tenant", "acme", "x-bytes", Buffer.from([255])]);
    expect(Buffer.from(got.body ?? []).toString()).toBe("hello");
    expect(got).toMatchObject({ id: "1700-5@orders", key: "c-7", headers: { "x-tenant": "acme" }, time: 1_700 });
    expect(Object.keys(got.headers)).toEqual(["x-tenant"]);
  });

  test("without data: the fields are the message, as JSON", () => {
    const got = read(["sensor", "7", "temperature", "19.8"]);
    expect(JSON.parse(Buffer.from(got.body ?? []).toString())).toEqual({ sensor: "7", temperature: "19.8" });
    expect(got.key).toBeNull();
  });

  test("a copy keeps what strings cannot hold, and follows what core changed", () => {
    const bytes = Buffer.from([255, 0]);
    const foreign = read(["data", bytes, "x-bytes", bytes, "x-kept", "1", "x-changed", "old", "x-gone", "1"]);
    const headers = { "x-kept": "1", "x-changed": "new", "sluice-attempts": "2" };
    const fields = toFields(record({ id: foreign.id ?? "", body: foreign.body, headers }), foreign.native);
    const copy = read(fields);
    expect({ ...copy.headers }).toEqual(headers);
    expect(copy.id).toBe("1700-5@orders");
    const native = copy.native as { readonly fields: readonly (readonly [string, Buffer])[] };
    expect(new Map(native.fields).get("x-bytes")).toEqual(bytes);
    expect(text(fields).filter((name) => name === "x-kept")).toHaveLength(1);
    expect(text(fields)).not.toContain("x-gone");
  });

  test("a copy of an entry whose fields are the message keeps them", () => {
    const foreign = read(["sensor", "7", "raw", Buffer.from([255])]);
    const fields = toFields(record({ id: "x", body: foreign.body, headers: { "sluice-hop": "1" } }), foreign.native);
    expect(text(fields).slice(0, 3)).toEqual(["sensor", "7", "raw"]);
    const copy = read(fields);
    expect(copy.body).toEqual(foreign.body);
    expect({ ...copy.headers }).toEqual({ "sluice-hop": "1" });
  });

  test("headers that are no JSON are no headers", () => {
    expect({ ...read(["data", "x", "sluice-headers", "{"]).headers }).toEqual({});
  });
});

test("hand-outs before a give-back count", () => {
  expect(read(["data", "x", "sluice-deliveries", "3"]).deliveries).toBe(5);
  expect(fromEntry("1-1", buffers(["data", "x"]), { ...origin, deliveries: undefined }).deliveries).toBeUndefined();
});
