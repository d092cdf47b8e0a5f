import { type Context, isSluiceError, topic, connect } from "@sluice/core";
import { memory } from "@sluice/memory";
import { CloudEvent, HTTP, Kafka } from "cloudevents";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cloudEventOf, cloudEvents, type CloudEventsOptions, fromCloudEvent, toCloudEvent } from "../src/index.ts";
import { incoming, outgoing, textOf, wireContext, wireMessage } from "./wire-support.ts";

/** The example of the specification. */
const attributes = {
  specversion: "1.0",
  id: "1234-1234-1234",
  source: "/mycontext/subcontext",
  type: "com.example.someevent",
  time: "2018-04-05T03:56:24Z",
  datacontenttype: "application/json",
} as const;
const example: CloudEventsOptions = { source: attributes.source, type: attributes.type };
const json = { "content-type": "application/json" };
const message = (system: string, more: object = {}) =>
  wireMessage({ system, id: attributes.id, headers: json, ...more });
const middleware = cloudEvents({ source: "/reader" });

async function eventOf(sent: ReturnType<typeof wireMessage>, context: Context = wireContext()) {
  const got = await incoming([middleware], sent, context);
  return { event: cloudEventOf(context), body: textOf(got.body), type: got.headers["content-type"] };
}

const refusal = (run: Promise<unknown>) =>
  run.then(
    () => expect.fail("it was accepted"),
    (error: unknown) => {
      expect(error).toSatisfy(isSluiceError);
      return error as { code: string; message: string; issues: { path: string }[] };
    },
  );

describe("what is on the wire", () => {
  test("Kafka: headers with ce_, and the key", async () => {
    const sent = await outgoing(
      [cloudEvents(example)],
      message("kafka", { key: "k1", headers: { ...json, "ce-subject": "s1" } }),
    );
    expect({ ...sent.headers }).toEqual({
      "content-type": "application/json",
      ce_specversion: "1.0",
      ce_id: "1234-1234-1234",
      ce_source: "/mycontext/subcontext",
      ce_type: "com.example.someevent",
      ce_time: "2018-04-05T03:56:24Z",
      ce_subject: "s1",
      ce_partitionkey: "k1",
    });
    expect(Buffer.from(sent.body ?? []).toString("hex")).toBe("7b2261223a317d");
    expect(sent.key).toBe("k1");
  });

  test("RabbitMQ: headers as AMQP 1.0 wants them; the prefix can be Knative's", async () => {
    const sent = await outgoing([cloudEvents(example)], message("rabbitmq"));
    expect({ ...sent.headers }).toEqual({
      "content-type": "application/json",
      cloudEvents_specversion: "1.0",
      cloudEvents_id: "1234-1234-1234",
      cloudEvents_source: "/mycontext/subcontext",
      cloudEvents_type: "com.example.someevent",
      cloudEvents_time: "2018-04-05T03:56:24Z",
    });
    const knative = await outgoing([cloudEvents({ ...example, prefix: "ce-" })], message("rabbitmq"));
    expect(Object.keys(knative.headers)).toContain("ce-id");
  });

  test("Pub/Sub: attributes with ce-, the content type among them", async () => {
    const sent = await outgoing([cloudEvents(example)], message("gcp_pubsub"));
    expect({ ...sent.headers }).toEqual({
      "content-type": "application/json",
      "ce-specversion": "1.0",
      "ce-id": "1234-1234-1234",
      "ce-source": "/mycontext/subcontext",
      "ce-type": "com.example.someevent",
      "ce-time": "2018-04-05T03:56:24Z",
      "ce-datacontenttype": "application/json",
    });
    expect(textOf(sent.body)).toBe('{"a":1}');
  });

  test("SQS and SNS: one JSON text, and the type for filters", async () => {
    const sent = await outgoing(
      [cloudEvents(example)],
      message("aws_sqs", { headers: { ...json, "ce-subject": "s1" } }),
    );
    expect({ ...sent.headers }).toEqual({
      "content-type": "application/cloudevents+json; charset=utf-8",
      "ce-type": "com.example.someevent",
    });
    expect(textOf(sent.body)).toBe(
      '{"id":"1234-1234-1234","time":"2018-04-05T03:56:24.000Z","type":"com.example.someevent","source":"/mycontext/subcontext","specversion":"1.0","datacontenttype":"application/json","subject":"s1","data":{"a":1}}',
    );
  });

  test("structured, of bytes", async () => {
    const sent = await outgoing(
      [cloudEvents({ ...example, mode: "structured" })],
      message("kafka", { headers: { "content-type": "application/octet-stream" }, body: new Uint8Array([1, 2, 3]) }),
    );
    expect(textOf(sent.body)).toMatch(/,"datacontenttype":"application\/octet-stream","data_base64":"AQID"}$/);
    expect({ ...sent.headers }).toEqual({ "content-type": "application/cloudevents+json; charset=utf-8" });
  });

  test("details per message, what the publisher says, the flow, the trace on request", async () => {
    const headers = {
      ...json,
      "correlation-id": "flow",
      "causation-id": "cause",
      traceparent: "00-1-2-01",
      ce_subject: "mine",
    };
    const details = ({ topic }: { topic: string }) => ({
      subject: "theirs",
      dataschema: "https://x/y",
      attempts: 3,
      topic,
    });
    const sent = await outgoing(
      [cloudEvents({ source: "/s", type: (name) => `com.example.${name}`, details, traceparent: true })],
      message("memory", { headers, key: "bad\nkey" }),
    );
    expect(sent.headers).toMatchObject({
      "ce-type": "com.example.orders",
      "ce-subject": "mine",
      "ce-dataschema": "https://x/y",
      "ce-attempts": "3",
      "ce-topic": "orders",
      "ce-correlationid": "flow",
      "ce-causationid": "cause",
      "ce-traceparent": "00-1-2-01",
    });
    expect(sent.headers).not.toHaveProperty("ce_subject");
    // A key that no attribute can be.
    expect(sent.headers).not.toHaveProperty("ce-partitionkey");
  });
});

describe("reading", () => {
  const systems = ["memory", "kafka", "rabbitmq", "gcp_pubsub", "redis", "aws_sqs"];
  test.each(systems)("what we wrote for %s", async (system) => {
    const sent = await outgoing([cloudEvents(example)], message(system, { key: "k1" }));
    expect(await eventOf(sent)).toEqual({
      event: { ...attributes, partitionkey: "k1", time: expect.stringMatching(/^2018-04-05T03:56:24(\.000)?Z$/) },
      body: '{"a":1}',
      type: "application/json",
    });
  });

  test.each(["ce_", "ce-", "cloudEvents_", "cloudEvents:", "CE-", "CLOUDEVENTS_", "Ce_"])(
    "headers with %s",
    async (prefix) => {
      const { datacontenttype, ...rest } = attributes;
      const named = Object.fromEntries(
        Object.entries(rest).map(([name, value]) => [prefix + name.toUpperCase(), value]),
      );
      const read = await eventOf(message("kafka", { headers: { ...named, "Content-Type": datacontenttype } }));
      expect(read).toEqual({ event: attributes, body: '{"a":1}', type: "application/json" });
    },
  );

  test("datacontenttype as a header; content-type is preferred", async () => {
    const headers = {
      ce_specversion: "1.0",
      ce_id: "1",
      ce_source: "s",
      ce_type: "t",
      ce_datacontenttype: "text/plain",
    };
    expect((await eventOf(message("kafka", { headers }))).type).toBe("text/plain");
    expect((await eventOf(message("kafka", { headers: { ...headers, ...json } }))).event?.datacontenttype).toBe(
      "application/json",
    );
  });

  test("prefixes are not mixed: the one that is whole counts", async () => {
    const headers = { "ce-id": "old", ce_specversion: "1.0", ce_id: "new", ce_source: "s", ce_type: "t" };
    expect((await eventOf(message("kafka", { headers }))).event?.id).toBe("new");
  });

  test.each([
    "APPLICATION/CloudEvents+JSON",
    "application/cloudevents+json",
    "application/cloudevents+json;charset=UTF-8",
  ])("structured as %s", async (type) => {
    const body = Buffer.from(JSON.stringify({ ...attributes, comexample: true, count: 3, gone: null, data: "x" }));
    const read = await eventOf(message("kafka", { body, headers: { "content-type": type } }));
    expect(read).toEqual({
      event: { ...attributes, comexample: true, count: 3 },
      body: '"x"',
      type: "application/json",
    });
  });

  test.each<[string, object, string | undefined]>([
    ["text", { datacontenttype: "text/plain", data: "x" }, "x"],
    ["bytes", { datacontenttype: "application/octet-stream", data_base64: "AQID" }, "\u0001\u0002\u0003"],
    ["null", { data: null }, "null"],
    ["nothing", {}, undefined],
    ["JSON without a type", { datacontenttype: undefined, data: { n: 1 } }, '{"n":1}'],
  ])("structured data: %s", async (_, more, expected) => {
    const body = Buffer.from(JSON.stringify({ ...attributes, ...more }));
    const read = await eventOf(message("x", { body, headers: { "content-type": "application/cloudevents+json" } }));
    expect(read.body).toBe(expected);
  });

  test.each(['{"n":12345678901234567890}', '{ "n": 1.0 }', "not JSON", "\ufeff{}", '"\ud83d\ude00"'])(
    "structured keeps the bytes of %s",
    async (text) => {
      const sent = await outgoing(
        [cloudEvents({ source: "/s", mode: "structured" })],
        message("kafka", { body: Buffer.from(text) }),
      );
      expect((await eventOf(sent)).body).toBe(text);
    },
  );

  test("a tombstone: an event without data", async () => {
    const sent = await outgoing([cloudEvents(example)], message("kafka"));
    expect(await eventOf({ ...sent, body: null })).toMatchObject({ event: { id: attributes.id }, body: undefined });
  });

  test("the envelope of Redis Pub/Sub", async () => {
    const event = { ...attributes, partitionkey: "k", sluiceheaders: "{}", data: { a: 1 } };
    const native = { channel: "orders", message: Buffer.from(JSON.stringify(event)) };
    const context = wireContext(native);
    expect((await eventOf(message("redis"), context)).event).toEqual({ ...attributes, partitionkey: "k" });
    expect(
      (await eventOf(message("redis"), wireContext({ channel: "c", message: Buffer.from("{") }))).event,
    ).toBeUndefined();
  });
});

describe("what is no event, or a wrong one", () => {
  test.each([
    ["only ce_id", { ce_id: "1" }],
    ["another version", { ce_id: "1", ce_source: "s", ce_type: "t", ce_specversion: "0.3" }],
    ["nothing", {}],
  ])("%s stays as it is, or is refused on request", async (_, headers) => {
    const sent = message("kafka", { headers: { ...json, ...headers } });
    expect(await eventOf(sent)).toEqual({ event: undefined, body: '{"a":1}', type: "application/json" });
    const strict = cloudEvents({ source: "/s", others: "refuse" });
    expect(await refusal(incoming([strict], sent))).toMatchObject({ code: "INVALID_PAYLOAD" });
  });

  test.each<[string, object, string]>([
    ["an extension in mixed case", { comExample: "x" }, "comExample"],
    ["an integer of 33 bits", { n: 2_147_483_648 }, "n"],
    ["a smaller one", { n: -2_147_483_649 }, "n"],
    ["a fraction", { n: 1.5 }, "n"],
    ["an object", { n: {} }, "n"],
    ["an empty source", { source: "" }, "source"],
    ["a source with blanks", { source: "a b" }, "source"],
    ["an empty id", { id: "" }, "id"],
    ["no type", { type: undefined }, "type"],
    ["version 0.3", { specversion: "0.3" }, "specversion"],
    ["a time of another format", { time: "yesterday" }, "time"],
    ["a month that there is not", { time: "2018-13-05T03:56:24Z" }, "time"],
    ["a relative dataschema", { dataschema: "/schema" }, "dataschema"],
    ["no media type", { datacontenttype: "json" }, "datacontenttype"],
    ["control characters", { subject: "a\u0000b" }, "subject"],
    ["half a character", { subject: "\ud800" }, "subject"],
  ])("%s is refused on the way in and out", async (_, more, path) => {
    const body = Buffer.from(JSON.stringify({ ...attributes, ...more }));
    const error = await refusal(
      eventOf(message("kafka", { body, headers: { "content-type": "application/cloudevents+json" } })),
    );
    expect(error).toMatchObject({ code: "INVALID_PAYLOAD", issues: [{ path }] });
    if (path === "specversion" || path === "datacontenttype" || path === "type") return;
    const details = () => more as never;
    const sending = outgoing([cloudEvents({ source: "/s", details })], message("kafka"));
    expect(await refusal(sending)).toMatchObject({ code: "INVALID_MESSAGE", issues: [{ path }] });
  });

  test.each([
    ["a batch", "application/cloudevents-batch+json", "[]"],
    ["XML", "application/cloudevents+xml", "<event/>"],
    ["no JSON", "application/cloudevents+json", "{"],
    ["a list", "application/cloudevents+json", "[]"],
    ["data twice", "application/cloudevents+json", JSON.stringify({ ...attributes, data: 1, data_base64: "AQID" })],
    ["no base64", "application/cloudevents+json", JSON.stringify({ ...attributes, data_base64: "?" })],
  ])("%s is refused", async (_, type, body) => {
    const sent = message("kafka", { body: Buffer.from(body), headers: { "content-type": type } });
    expect(await refusal(eventOf(sent))).toMatchObject({ code: "INVALID_PAYLOAD" });
  });

  test("an illegal source is found at the call", () => {
    expect(() => cloudEvents({ source: "" })).toThrow(expect.objectContaining({ code: "CONFIG" }));
  });
});

test("whatever comes is an event, no event or invalid", async () => {
  const name = fc.oneof(
    fc.constantFrom(
      "ce_id",
      "ce-source",
      "cloudEvents:type",
      "ce_specversion",
      "content-type",
      "ce_time",
      "ce___proto__",
      "__proto__",
    ),
    fc.string({ unit: "binary" }),
  );
  const value = fc.oneof(
    fc.constantFrom("1.0", "application/cloudevents+json", "application/json", ""),
    fc.string({ unit: "binary" }),
  );
  const event = fc.dictionary(
    fc.constantFrom("id", "source", "type", "specversion", "data", "data_base64", "x", "time"),
    fc.jsonValue(),
  );
  const body = fc.oneof(
    fc.uint8Array(),
    event.map((json) => Buffer.from(JSON.stringify(json))),
    fc.constant(null),
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, value), body, fc.boolean(), async (headers, bytes, structured) => {
      const given = structured ? { ...headers, "content-type": "application/cloudevents+json" } : headers;
      const context = wireContext();
      const error: unknown = await incoming(
        [middleware],
        message("kafka", { headers: given, body: bytes }),
        context,
      ).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error === undefined || isSluiceError(error, "INVALID_PAYLOAD")).toBe(true);
      const read = cloudEventOf(context);
      expect(read === undefined || (read.specversion === "1.0" && read.id !== "" && read.source !== "")).toBe(true);
    }),
    { numRuns: 150 },
  );
});

describe("the package cloudevents", () => {
  const theirs = new CloudEvent({ ...attributes, subject: "s1", partitionkey: "k1", comexample: "x", data: { a: 1 } });
  const native = (sent: ReturnType<typeof wireMessage>) => ({
    headers: { ...sent.headers },
    key: String(sent.key),
    value: Buffer.from(sent.body ?? []),
  });

  test.each(["binary", "structured"] as const)("reads what we write: Kafka, %s", async (mode) => {
    const sent = await outgoing(
      [cloudEvents({ ...example, mode })],
      message("kafka", { key: "k1", headers: { ...json, "ce-subject": "s1", "ce-comexample": "x" } }),
    );
    const record = native(sent);
    const value = mode === "structured" ? record.value.toString() : record.value;
    const event = Kafka.toEvent({ ...record, value } as never) as CloudEvent;
    expect({ ...event.toJSON() }).toMatchObject({ ...theirs.toJSON(), time: "2018-04-05T03:56:24.000Z" });
    expect(event.validate()).toBe(true);
  });

  test("reads what we write: HTTP's prefix", async () => {
    const sent = await outgoing([cloudEvents(example)], message("redis"));
    const event = HTTP.toEvent({ headers: { ...sent.headers }, body: textOf(sent.body) }) as CloudEvent;
    expect(event).toMatchObject({ id: attributes.id, source: attributes.source, data: { a: 1 } });
  });

  test.each(["binary", "structured"] as const)("is read by us: Kafka, %s", async (mode) => {
    const { headers, value } = Kafka[mode](theirs);
    const body = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
    const read = await eventOf(message("kafka", { headers, body }));
    const time = mode === "structured" ? "2018-04-05T03:56:24.000Z" : attributes.time;
    expect(read.event).toEqual({ ...attributes, time, subject: "s1", partitionkey: "k1", comexample: "x" });
    expect(JSON.parse(read.body ?? "")).toEqual({ a: 1 });
  });

  test("is read by us: HTTP, structured, of bytes", async () => {
    const bytes = new CloudEvent({
      ...attributes,
      datacontenttype: "application/octet-stream",
      data: new Uint8Array([1, 2, 3]),
    });
    const { headers, body } = HTTP.structured(bytes);
    const read = await eventOf(message("kafka", { headers, body: Buffer.from(String(body)) }));
    expect(read).toMatchObject({ body: "\u0001\u0002\u0003", type: "application/octet-stream" });
  });

  test("its traps: it takes ce_id alone for an event, and reads media types in lower case only", async () => {
    const strange = { headers: { "content-type": "Application/CloudEvents+JSON" }, value: JSON.stringify(theirs) };
    expect(() => Kafka.toEvent(strange as never)).toThrow("No CloudEvent detected");
    expect(Kafka.isEvent({ headers: { ce_id: "1" }, value: "x" } as never)).toBe(true);
    // We write no `ce_id` on what is no event of ours, and lower case only.
    const sent = await outgoing([cloudEvents({ ...example, mode: "structured" })], message("kafka"));
    expect(sent.headers["content-type"]).toBe(sent.headers["content-type"]?.toLowerCase());
    expect(Object.keys(sent.headers).filter((name) => name.startsWith("ce"))).toEqual([]);
  });
});

describe("on a bus", () => {
  const Orders = topic<{ a: number }>("orders");

  test("an event goes through a retry, a dead letter and a redrive unchanged, and on by shape", async () => {
    const bus = await connect(memory(), { middleware: { wire: [cloudEvents({ source: "/shop" })] } });
    const seen: unknown[] = [];
    let failing = true;
    await bus.subscribe(Orders, { group: "billing", retry: { attempts: 2, firstDelay: 1 } }, (payload, context) => {
      seen.push(toCloudEvent(context, payload));
      if (failing) throw new Error("not yet");
    });
    const dead = bus.settled(Orders, { fate: "dead-letter" });
    const { payload, options } = fromCloudEvent(
      new CloudEvent<{ a: number }>({ ...attributes, partitionkey: "k", priority: 3, data: { a: 1 } }),
    );
    await bus.publish(Orders, payload as { a: number }, options);
    await dead;
    failing = false;
    const letters = bus.deadLetters(Orders, { group: "billing" });
    const done = bus.settled(Orders, { fate: "done" });
    await letters.redrive();
    await done;
    expect(seen).toHaveLength(3);
    for (const event of seen)
      expect(event).toEqual({ ...attributes, partitionkey: "k", priority: "3", data: { a: 1 } });
    // What comes out goes into the class as it is.
    expect(new CloudEvent(seen[0] as never).validate()).toBe(true);
    expect(bus.explain()).toContain("cloudEvents");
    await bus.close();
  });
});
