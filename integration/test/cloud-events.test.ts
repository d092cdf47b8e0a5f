// What is on the wire of every broker, read by its own client; and what the package `cloudevents` and other programs wrote, read by us.
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Harness, RawRecord } from "@sluice/conformance";
import { type Bus, type Bytes, bytes, type Context, connect, type Topic, topic } from "@sluice/core";
import { claimCheck, cloudEventOf, cloudEvents, compress, encrypt, fileClaims } from "@sluice/middleware";
import { redisPubsub } from "@sluice/redis";
import { connect as connectAmqp } from "amqplib";
import { CloudEvent, HTTP, Kafka } from "cloudevents";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BrokerName, brokers } from "../brokers/index.ts";
import { announce } from "../harnesses/start.ts";

interface Order {
  readonly a: number;
}

const example = { id: "1234-1234-1234", source: "/mycontext/subcontext", type: "com.example.someevent" };
const theirs = new CloudEvent({
  ...example,
  time: "2018-04-05T03:56:24.000Z",
  datacontenttype: "application/json",
  subject: "s1",
  comexample: "x",
  data: { a: 1 },
});
const type = "application/json";
const structuredType = "application/cloudevents+json; charset=utf-8";

/** Records that other programs write, as far as this broker's wire can carry them. */
interface Foreign {
  readonly what: string;
  readonly record: RawRecord;
}

const binary = (prefix: string): Foreign => {
  const attributes = HTTP.binary(theirs).headers as Record<string, string>;
  const headers = Object.entries(attributes).map(([name, value]) => [name.replace(/^ce-/, prefix), value]);
  return { what: `binary, ${prefix}`, record: { body: Buffer.from('{"a":1}'), headers: Object.fromEntries(headers) } };
};
const structured: Foreign = {
  what: "structured",
  record: { body: Buffer.from(theirs.toString()), headers: { "content-type": structuredType } },
};
const kafkaRecord = ({ headers, value }: { headers: object; value?: unknown }): RawRecord => ({
  body: Buffer.from(typeof value === "string" ? value : JSON.stringify(value)),
  // n.b. The package leaves headers of attributes that are not set, without a value: kafkajs throws on them.
  headers: Object.fromEntries(Object.entries(headers).filter(([, each]) => each !== undefined)),
});

interface Case {
  readonly name: string;
  readonly broker: BrokerName;
  /** Where the binary mode's headers begin; `undefined`: structured. */
  readonly prefix: string | undefined;
  /** Attributes that are there besides `content-type`. */
  readonly twice?: { readonly datacontenttype: string };
  readonly foreign: readonly Foreign[];
}

const cases: readonly Case[] = [
  {
    name: "kafka",
    broker: "kafka",
    prefix: "ce_",
    foreign: [
      { what: "cloudevents, binary", record: kafkaRecord(Kafka.binary(theirs) as never) },
      { what: "cloudevents, structured", record: kafkaRecord(Kafka.structured(theirs) as never) },
    ],
  },
  {
    name: "rabbitmq",
    broker: "rabbitmq",
    prefix: "cloudEvents_",
    foreign: [binary("cloudEvents_"), binary("cloudEvents:"), binary("ce-"), structured],
  },
  { name: "redis", broker: "redis", prefix: "ce-", foreign: [binary("ce-"), structured] },
  {
    name: "google-pubsub",
    broker: "google-pubsub",
    prefix: "ce-",
    twice: { datacontenttype: type },
    foreign: [binary("ce-"), structured],
  },
  {
    name: "sqs-sns",
    broker: "sqs-sns",
    prefix: undefined,
    twice: { datacontenttype: type },
    foreign: [binary("ce-"), structured],
  },
];

const textHeaders = ({ headers = {} }: RawRecord): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(value).toString()]));

/** The event as the broker's own client sees it. */
function onWire(record: RawRecord, prefix: string | undefined) {
  const headers = textHeaders(record);
  const contentType = record.contentType ?? headers["content-type"];
  const text = Buffer.from(record.body ?? []).toString();
  if (prefix === undefined) {
    const { data, ...attributes } = JSON.parse(text) as Record<string, unknown>;
    return { contentType, attributes, data: JSON.stringify(data) };
  }
  const named = Object.entries(headers).filter(([name]) => name.startsWith(prefix));
  const attributes = Object.fromEntries(named.map(([name, value]) => [name.slice(prefix.length), value]));
  return { contentType, attributes, data: text };
}

function asKafka(record: RawRecord, prefix: string | undefined): never {
  const { contentType = "", attributes, data } = onWire(record, prefix);
  const named = Object.entries(attributes).map(([name, value]) => [`ce_${name}`, value]);
  const headers = { "content-type": contentType, ...(prefix !== undefined && Object.fromEntries(named)) };
  const value = prefix === undefined ? Buffer.from(record.body ?? []).toString() : data;
  // Its types want more members than its code.
  return { headers, key: "k1", value } as never;
}

/** Everything that the group handles, one after another. */
async function handled(bus: Bus, orders: Topic<Order>, options: object) {
  const waiting: ((seen: Seen) => void)[] = [];
  const early: Seen[] = [];
  const add = (seen: Seen) => {
    const take = waiting.shift();
    if (take) take(seen);
    else early.push(seen);
  };
  await bus.subscribe(orders, options as { group: string }, (payload, context) => {
    add({ payload, event: cloudEventOf(context as Context), id: context.message.id });
  });
  return () => {
    const seen = early.shift();
    return seen ? Promise.resolve(seen) : new Promise<Seen>((resolve) => waiting.push(resolve));
  };
}

interface Seen {
  readonly payload: unknown;
  readonly event: unknown;
  readonly id: string;
}

async function start(broker: BrokerName, harness: string) {
  const started = await brokers([{ broker }]);
  process.stdout.write(`${started.table()}\n`);
  const [running] = started.available;
  if (!running) return { started, running, harness: undefined };
  announce(running);
  const module = (await import(`../harnesses/${harness}.ts`)) as { readonly default: Harness };
  return { started, running, harness: module.default };
}

describe.each(cases)("$name", ({ name, broker, prefix, twice, foreign }) => {
  let broken: string | undefined;
  let set: Awaited<ReturnType<typeof start>>;
  beforeAll(async () => {
    set = await start(broker, name);
    broken = set.started.unavailable[0]?.why;
  }, 240_000);
  afterAll(async () => {
    await set.harness?.close?.();
    await set.started.stopAll();
  }, 60_000);

  test("what we write, and what others write", async ({ skip }) => {
    const harness = set.harness ?? skip(broken);
    const orders = topic<Order>(`events-${randomUUID()}`, { groups: ["g"] });
    const bus = await connect(harness.driver(), { middleware: { wire: [cloudEvents(example)] } });
    const next = await handled(bus, orders, { group: "g" });
    const raw = await harness.raw();
    const reader = await raw.consume(orders.name);

    await bus.publish(orders, { a: 1 }, { id: example.id, key: "k1", headers: { "ce-subject": "s1" } });
    const attributes = { ...example, specversion: "1.0", subject: "s1", partitionkey: "k1" };
    const time = expect.stringMatching(/^\d{4}-\d{2}-\d{2}T.*Z$/) as string;
    expect(await next()).toEqual({
      payload: { a: 1 },
      event: { ...attributes, datacontenttype: type, time },
      id: example.id,
    });
    const [record = { body: null }] = await reader.read(1, 20_000);
    expect(onWire(record, prefix)).toEqual({
      contentType: prefix === undefined ? structuredType : type,
      attributes: { ...attributes, ...twice, time },
      data: '{"a":1}',
    });
    // The package reads it: on Kafka as it is, elsewhere under the names that it knows.
    const event = Kafka.toEvent(asKafka(record, prefix)) as CloudEvent;
    expect(event.validate()).toBe(true);
    expect(event).toMatchObject({ ...attributes, data: { a: 1 } });

    for (const { record: written } of foreign) {
      await raw.produce(orders.name, [written]);
      const seen = await next();
      expect(seen.payload).toEqual({ a: 1 });
      expect(seen.event).toMatchObject({
        ...example,
        subject: "s1",
        comexample: "x",
        time: "2018-04-05T03:56:24.000Z",
      });
    }
    // Whoever has no event keeps what he has.
    await raw.produce(orders.name, [{ body: Buffer.from('{"a":2}') }]);
    expect(await next()).toMatchObject({ payload: { a: 2 }, event: undefined });
    await reader.close();
    await raw.close();
    await bus.close();
  });

  test("packed, encrypted and stored elsewhere, through a retry, a dead letter and a redrive", async ({ skip }) => {
    const harness = set.harness ?? skip(broken);
    const folder = await mkdtemp(join(tmpdir(), "claims-"));
    const key = randomBytes(32);
    const wire = [
      cloudEvents(example),
      compress({ threshold: 100 }),
      encrypt({ keys: { current: "k1", get: () => key } }),
      claimCheck(fileClaims(folder), { threshold: 2000 }),
    ];
    const bus = await connect(harness.driver(), { middleware: { wire } });
    const images = topic<Bytes>(`images-${randomUUID()}`, { codec: bytes(), groups: ["g"] });
    // One stays below the threshold of the claim check: encrypted bytes on the wire. The other is stored.
    const bodies = [randomBytes(1000), Buffer.concat([randomBytes(3000), new Uint8Array(3000)])];
    const seen = new Map<string, string[]>();
    let failing = true;
    await bus.subscribe(images, { group: "g", retry: { attempts: 2, firstDelay: 1 } }, (payload, context) => {
      const runs = seen.get(context.message.id) ?? [];
      seen.set(context.message.id, [
        ...runs,
        `${Buffer.from(payload).toString("base64")} ${cloudEventOf(context)?.source}`,
      ]);
      if (failing) throw new Error("not yet");
    });
    const settled = (fate: "dead-letter" | "done") =>
      Promise.all(bodies.map((_, n) => bus.settled(images, { fate, id: `i-${n}` })));
    const dead = settled("dead-letter");
    await Promise.all(bodies.map((body, n) => bus.publish(images, body, { id: `i-${n}`, key: "k" })));
    await dead;
    failing = false;
    const done = settled("done");
    expect(await bus.deadLetters(images, { group: "g" }).redrive()).toMatchObject({ redriven: 2 });
    await done;
    const expected = bodies.map((body, n) => [
      `i-${n}`,
      Array.from({ length: 3 }, () => `${body.toString("base64")} ${example.source}`),
    ]);
    expect(Object.fromEntries(seen)).toEqual(Object.fromEntries(expected));
    await bus.close();
    await rm(folder, { recursive: true });
  });

  test.runIf(name === "rabbitmq")("properties, and times of AMQP's own type", async ({ skip }) => {
    const harness = set.harness ?? skip(broken);
    const address = set.running?.address;
    const url = address?.kind === "url" ? address.url : skip("the broker has no URL");
    const orders = topic<Order>(`events-${randomUUID()}`, { groups: ["g"] });
    const bus = await connect(harness.driver(), { middleware: { wire: [cloudEvents(example)] } });
    const next = await handled(bus, orders, { group: "g" });
    const connection = await connectAmqp(url);
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    await channel.bindQueue(queue, orders.name, "#");
    const got = Promise.withResolvers<Record<string, unknown>>();
    await channel.consume(queue, (message) => got.resolve({ ...message?.properties }), { noAck: true });
    await bus.publish(orders, { a: 1 }, { id: example.id, headers: { "correlation-id": "flow-1" } });
    expect(await got.promise).toMatchObject({
      contentType: type,
      messageId: example.id,
      type: example.type,
      correlationId: "flow-1",
      timestamp: expect.any(Number) as number,
      deliveryMode: 2,
      headers: { cloudEvents_id: example.id, cloudEvents_source: example.source, cloudEvents_correlationid: "flow-1" },
    });
    await next();

    const headers = {
      "cloudEvents:specversion": "1.0",
      "cloudEvents:id": example.id,
      "cloudEvents:source": example.source,
      "cloudEvents:type": example.type,
      "cloudEvents:time": { "!": "timestamp", value: 1_522_900_584 },
      "cloudEvents:urgent": true,
      "cloudEvents:level": 3,
    };
    channel.publish(orders.name, orders.name, Buffer.from('{"a":3}'), { headers, contentType: type });
    const seen = await next();
    expect(seen.payload).toEqual({ a: 3 });
    expect(seen.event).toMatchObject({ ...example, time: "2018-04-05T03:56:24.000Z", urgent: "true", level: "3" });
    await connection.close();
    await bus.close();
  });

  test.runIf(name === "redis")("Redis Pub/Sub: the event is the message", async ({ skip }) => {
    if (!set.running) skip(broken);
    const module = (await import("../harnesses/redis-pubsub.ts")) as { readonly default: Harness };
    const orders = topic<Order>(`events-${randomUUID()}`);
    const bus = await connect(module.default.driver(), { middleware: { wire: [cloudEvents(example)] } });
    const lossy = { delivery: "at-most-once" } as const;
    const next = await handled(bus, orders, { broadcast: "b", ...lossy });
    const raw = await module.default.raw();
    const reader = await raw.consume(orders.name);
    await bus.publish(orders, { a: 1 }, { id: example.id, key: "k1", ...lossy } as never);
    const attributes = { ...example, specversion: "1.0", datacontenttype: type, partitionkey: "k1" };
    expect((await next()).event).toMatchObject(attributes);
    const [record] = await reader.read(1, 20_000);
    const event = new CloudEvent(JSON.parse(Buffer.from(record?.body ?? []).toString()) as object);
    expect(event.validate()).toBe(true);
    expect(event).toMatchObject({ ...attributes, data: { a: 1 } });
    await raw.produce(orders.name, [structured.record]);
    expect(await next()).toMatchObject({ payload: { a: 1 }, event: { ...example, subject: "s1", comexample: "x" } });
    await bus.close();

    // Without an envelope of the driver's the event is all that there is.
    const driver = redisPubsub({ url: process.env["REDIS_URL"] ?? "", format: "raw" });
    const wire = [cloudEvents({ ...example, mode: "structured" })];
    const rawBus = await connect(driver, { middleware: { wire } });
    const nextRaw = await handled(rawBus, orders, { broadcast: "b", ...lossy });
    await rawBus.publish(orders, { a: 1 }, { id: example.id, key: "k1", ...lossy });
    expect(await nextRaw()).toMatchObject({ payload: { a: 1 }, event: attributes, id: example.id });
    const [, last = { body: null }] = await reader.read(2, 20_000);
    expect(new CloudEvent(JSON.parse(Buffer.from(last.body ?? []).toString()) as object)).toMatchObject(attributes);
    await rawBus.close();
    await reader.close();
    await raw.close();
  });
});
