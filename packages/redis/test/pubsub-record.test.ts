import { emptyHeaders, type OutgoingRecord } from "@sluice/core/driver";
import { expect, test } from "vitest";
import { fromMessage, toMessage } from "../src/pubsub/record.ts";

const source = { topic: "orders", broadcast: "cache", instance: "i" };
const envelope = { format: "cloudevents", source: "/sluice/test", topic: "orders" } as const;

function record(parts: Partial<OutgoingRecord> = {}): OutgoingRecord {
  const headers = Object.assign(emptyHeaders(), { "content-type": "application/json" }, parts.headers);
  const body = Buffer.from('{"n":1}');
  return { id: "o-1", dedupId: "o-1/0", key: null, body, time: 1_522_900_584_000, ...parts, headers };
}

const received = (message: string | Buffer) =>
  fromMessage({ channel: "orders", message: Buffer.from(message) }, source);

test("a CloudEvent in structured mode", () => {
  expect(
    JSON.parse(String(toMessage(record({ key: "c-7", headers: { traceparent: "00-ab-cd-01" } }), envelope))),
  ).toEqual({
    specversion: "1.0",
    id: "o-1",
    source: "/sluice/test",
    type: "orders",
    time: "2018-04-05T03:56:24.000Z",
    datacontenttype: "application/json",
    partitionkey: "c-7",
    traceparent: "00-ab-cd-01",
    data: { n: 1 },
  });
});

test.each<[string, Partial<OutgoingRecord>]>([
  ["JSON", {}],
  ["JSON with blanks", { body: Buffer.from('{ "n": 1.0 }') }],
  ["bytes", { body: Buffer.from([0, 255, 254]), headers: { "content-type": "application/octet-stream" } }],
  ["text", { body: Buffer.from("Grüße"), headers: { "content-type": "text/plain" } }],
  ["a JSON string", { body: Buffer.from('"x"') }],
  ["an empty body", { body: Buffer.alloc(0) }],
  ["no body", { body: null }],
  ["keys", { key: "Grüße" }],
  ["keys of bytes", { key: new Uint8Array([255, 0]) }],
  [
    "headers that are no attributes",
    { headers: { "X-Upper": "1", id: "mine", data: "d", sluicex: "s", empty: "", nul: "\u0000" } },
  ],
])("round trip: %s", (_, parts) => {
  const sent = record(parts);
  const got = received(toMessage(sent, envelope));
  expect(got.body === null ? null : Buffer.from(got.body)).toEqual(sent.body === null ? null : Buffer.from(sent.body));
  expect(got.key).toEqual(sent.key);
  expect({ ...got.headers }).toEqual({ ...sent.headers });
  expect(got).toMatchObject({ id: "o-1", time: 1_522_900_584_000, source });
});

test.each([
  ["plain text", "hello"],
  ["JSON that is no event", '{"from": "elsewhere"}'],
  ["what only begins like JSON", "{"],
  ["bytes", Buffer.from([0x7b, 255])],
])("a foreign message is a payload: %s", (_, message) => {
  const got = received(message);
  expect(Buffer.from(got.body ?? [])).toEqual(Buffer.from(message));
  expect(got).toMatchObject({ id: undefined, key: null, time: undefined });
});

test("a foreign event is read: numbers are headers, no content type means JSON", () => {
  const event = { specversion: "1.0", id: "e", source: "/x", type: "t", sequence: 7, data: [1] };
  const got = received(JSON.stringify(event));
  expect(Buffer.from(got.body ?? []).toString()).toBe("[1]");
  expect({ ...got.headers }).toEqual({ sequence: "7" });
});

test("raw carries the payload alone", () => {
  const raw = { ...envelope, format: "raw" } as const;
  expect(toMessage(record({ key: "k" }), raw)).toEqual(Buffer.from('{"n":1}'));
  expect(() => toMessage(record({ body: null }), raw)).toThrow(/a raw message has a body/);
});

test("headers that describe the event are its attributes, and come back as headers", () => {
  const described = {
    "ce-specversion": "1.0",
    "ce-id": "o-1",
    "ce-source": "/mycontext/subcontext",
    "ce-type": "com.example.someevent",
    "ce-subject": "s1",
    "ce-correlationid": "flow-1",
    correlationid: "another",
    "ce-data": "no",
  };
  const sent = record({ headers: described });
  const message = toMessage(sent, envelope);
  const { sluiceheaders: _, ...event } = JSON.parse(String(message)) as Record<string, unknown>;
  expect(event).toEqual({
    specversion: "1.0",
    id: "o-1",
    source: "/mycontext/subcontext",
    type: "com.example.someevent",
    time: "2018-04-05T03:56:24.000Z",
    datacontenttype: "application/json",
    subject: "s1",
    correlationid: "flow-1",
    data: { n: 1 },
  });
  expect({ ...received(message).headers }).toEqual({ ...sent.headers });
});
