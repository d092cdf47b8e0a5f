// The registry client and codecs against a real registry: Apicurio and its Confluent-compatible API.
import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { SchemaRegistry, SchemaType } from "@kafkajs/confluent-schema-registry";
import { bytes, type Codec, connect, type Driver, topic, type Topic } from "@sluice/core";
import { kafka } from "@sluice/kafka";
import { memory, MemoryBroker } from "@sluice/memory";
import { avro } from "@sluice/schema/avro";
import { jsonSchema } from "@sluice/schema/json-schema";
import { protobuf } from "@sluice/schema/protobuf";
import {
  registered,
  type RegisteredOptions,
  registry,
  type RegistryFetch,
  type RegistryOptions,
  withPrefix,
} from "@sluice/schema/registry";
import { fromUrl } from "@sluice/url";
import { type IHeaders, Kafka, logLevel, Partitioners } from "kafkajs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Brokers, brokers, brokerUrl } from "../brokers/index.ts";
import { front, type Front } from "../registry/front.ts";
import { apicurio } from "../registry/index.ts";
import { InnerSchema } from "../registry/messages.ts";
import { selfSigned, trusting } from "../registry/tls.ts";

const started = await apicurio();
const server = "unavailable" in started ? undefined : started;
process.stdout.write(
  server
    ? `apicurio ${server.version} at ${server.url}\n`
    : `apicurio unavailable: ${"unavailable" in started && started.unavailable}\n`,
);
afterAll(() => server?.close());

const brokersStarted = await brokers([{ broker: "kafka" }]);
process.stdout.write(`${brokersStarted.table()}\n`);
afterAll(() => brokersStarted.stopAll(), 60_000);
const [running] = brokersStarted.available;
const kafkaBrokers = running?.address.kind === "brokers" ? running.address.brokers : [];

const orderText =
  '{"type":"record","name":"Order","namespace":"com.example","fields":[{"name":"id","type":"string"},{"name":"qty","type":"int"}]}';
const order = { schemaType: "AVRO", schema: orderText } as const;
const withNote = {
  schemaType: "AVRO",
  schema: orderText.replace("]}", ',{"name":"note","type":"string","default":""}]}'),
} as const;
const qtyAsText = { schemaType: "AVRO", schema: orderText.replace('"int"', '"string"') } as const;

const orderJson = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "Order",
  type: "object",
  properties: { id: { type: "string" }, qty: { type: "integer" } },
  required: ["id"],
};
const goldenGuid = "8ef66e27-50c8-4f9d-ac73-0b7de2e6ec7a";

const client = (options: Partial<RegistryOptions> = {}) =>
  registry({ url: server?.url ?? "http://127.0.0.1:1", ...options });
const fresh = (): string => `subject-${randomUUID()}`;

/** The first schema of a new registry is number 1, as in the bytes that the Java serializer wrote. */
const goldenId = server && (await client().register("golden", order)).id;

describe.skipIf(!server)("the client", () => {
  test("registers, finds and reads", async () => {
    const subject = fresh();
    const one = await client().register(subject, order);
    expect(await client().register(subject, order)).toEqual(one);
    expect(await client().find(subject, order)).toEqual({ ...one, version: 1 });
    expect(await client().byId(one.id)).toEqual({ ...order, references: [] });
    expect(await client().version(subject, 1)).toMatchObject({ ...order, subject, version: 1, id: one.id });
    const two = await client().register(subject, withNote);
    expect(two.id).not.toBe(one.id);
    expect(await client().latest(subject)).toMatchObject({ ...withNote, version: 2, id: two.id });
    expect(await client().versions(subject)).toEqual([1, 2]);
    expect(await client().subjects()).toContain(subject);
  });

  test("names with every sort of character are subjects", async () => {
    const subject = `a b/ü:%?#-${randomUUID()}`;
    const { id } = await client().register(subject, order);
    expect(await client().latest(subject)).toMatchObject({ id, subject });
  });

  test("says what is not there", async () => {
    await expect(client().byId(2_000_000_000)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(client().latest(fresh())).rejects.toMatchObject({ code: "NOT_FOUND" });
    const subject = fresh();
    await expect(client().find(subject, order)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await client().register(subject, order);
    await expect(client().find(subject, withNote)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(client().version(subject, 7)).rejects.toMatchObject({ code: "NOT_FOUND" });
    // This version of Apicurio has no GUIDs.
    await expect(client().byGuid(randomUUID())).rejects.toMatchObject({ code: "UNSUPPORTED" });
    await expect(client().register(fresh(), { schemaType: "AVRO", schema: "{" })).rejects.toMatchObject({
      code: "CONFIG",
    });
  });

  test("levels of compatibility, and 409 with the registry's words", async () => {
    const subject = fresh();
    await client().register(subject, order);
    for (const level of ["BACKWARD", "FORWARD", "FULL", "FULL_TRANSITIVE", "NONE", "BACKWARD_TRANSITIVE"] as const) {
      await client().setCompatibility(level, subject);
      expect(await client().compatibility(subject)).toBe(level);
    }
    expect(await client().compatibility(fresh())).toBe(await client().compatibility());
    expect(await client().check(subject, withNote)).toEqual({ compatible: true, messages: [] });
    const verdict = await client().check(subject, qtyAsText, "all");
    expect(verdict.compatible).toBe(false);
    expect(verdict.messages.join()).toContain("/fields/1/type");
    const refused: unknown = await client()
      .register(subject, qtyAsText)
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: "MISMATCH",
      issues: [{ message: expect.stringContaining("INT") as string }],
    });
    await client().setCompatibility("NONE", subject);
    await client().register(subject, qtyAsText);
  });

  test.each([
    [
      "AVRO",
      '{"type":"record","name":"N","namespace":"a","fields":[]}',
      (name: string) => `{"type":"record","name":"M","fields":[{"name":"n","type":"${name}"}]}`,
      "a.N",
    ],
    [
      "JSON",
      '{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}',
      (name: string) =>
        `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"n":{"$ref":"${name}"}}}`,
      "n.json",
    ],
    [
      "PROTOBUF",
      'syntax = "proto3"; message N { string x = 1; }',
      (name: string) => `syntax = "proto3"; import "${name}"; message M { N n = 1; }`,
      "n.proto",
    ],
  ] as const)("%s: references", async (schemaType, inner, outer, name) => {
    const [needed, subject] = [fresh(), fresh()];
    await client().register(needed, { schemaType, schema: inner });
    const references = [{ name, subject: needed, version: 1 }];
    const { id } = await client().register(subject, { schemaType, schema: outer(name), references });
    const found = await client().resolved({ id });
    expect(found.references.map((one) => one.name)).toEqual([name]);
    expect(found.references[0]?.schema.replaceAll(/\s+/g, " ")).toContain(inner.slice(0, 15));
    expect(await client().find(subject, { schemaType, schema: outer(name), references })).toMatchObject({
      id,
      version: 1,
    });
  });
});

describe.skipIf(!server)("authentication", () => {
  let protectedServer: Front;
  beforeAll(async () => {
    const authorization = `Basic ${Buffer.from("alice:correct horse").toString("base64")}`;
    protectedServer = await front(client().url, { authorization });
  });
  afterAll(() => protectedServer.close());

  test("lets the right one in, by option and by URL", async () => {
    const { url } = protectedServer;
    const auth = { username: "alice", password: "correct horse" };
    expect((await registry({ url, auth }).register(fresh(), order)).id).toBeGreaterThan(0);
    const inUrl = url.replace("//", "//alice:correct%20horse@");
    expect(await registry({ url: inUrl }).subjects()).not.toHaveLength(0);
  });

  test("keeps others out, without telling what they tried", async () => {
    const { url, requests } = protectedServer;
    const before = requests.length;
    const error: unknown = await registry({ url, auth: { token: "wrong-token" } })
      .subjects()
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "UNAUTHORIZED" });
    expect(String(error)).toContain("Unauthorized: Bearer ***");
    expect(requests.length - before).toBe(1);
  });
});

interface Order {
  readonly id: string;
  readonly qty: number;
  readonly note?: string;
}

const golden = Buffer.from("066f2d3106", "hex");
const orderCodec = (options: Partial<RegisteredOptions<Order>> = {}) =>
  registered({ registry: client(), format: avro<Order>(orderText), ...options });
const inMemory = new MemoryBroker();
const drivers: readonly (readonly [string, () => Driver])[] = [
  ["memory", () => memory({ broker: inMemory })],
  ["kafka", () => kafka({ brokers: kafkaBrokers })],
];

describe.skipIf(!server)("TLS", () => {
  test("is what the given fetch makes of it; a certificate that is not trusted is named", async () => {
    const certificate = await selfSigned();
    const secure = await front(client().url, { certificate });
    onTestFinished(() => secure.close());
    const trusted = registry({ url: secure.url, fetch: trusting(certificate.ca) });
    expect((await trusted.register(fresh(), order)).id).toBeGreaterThan(0);
    const other: unknown = await registry({ url: secure.url, retry: { attempts: 1 } })
      .subjects()
      .catch((error: unknown) => error);
    expect(other).toMatchObject({ code: "UNAVAILABLE" });
    expect(String(other)).toContain("DEPTH_ZERO_SELF_SIGNED_CERT");
  });
});

describe.skipIf(!server).each(drivers)("messages on %s", (name, driver) => {
  const here = name === "memory" || running !== undefined;
  const ordersOf = (codec: Codec<Order>, named = `orders-${randomUUID()}`) =>
    topic<Order>(named, { codec, groups: ["reader"], shards: 1 });

  async function open() {
    const bus = await connect(driver());
    onTestFinished(() => bus.close());
    return bus;
  }

  /** What the group of a topic gets. */
  async function reading(orders: Topic<Order>) {
    const bus = await open();
    const got: Order[] = [];
    const arrived = new EventEmitter();
    await bus.subscribe(
      orders,
      { group: "reader", concurrency: 1 },
      (order) => void (got.push(order), arrived.emit("order")),
    );
    const until = async (count: number) => {
      while (got.length < count) await once(arrived, "order");
      return got;
    };
    return { bus, until };
  }

  /** Bytes as they are, from somebody else. */
  async function foreign(orders: Topic<Order>, body: Uint8Array): Promise<void> {
    const bus = await open();
    await bus.publish(topic<Uint8Array>(orders.name, { codec: bytes(), groups: ["reader"], shards: 1 }), body);
  }

  test.skipIf(!here).each(["prefix", "header"] as const)("there and back, with the id as %s", async (schemaId) => {
    const orders = ordersOf(orderCodec({ schemaId }));
    const { bus, until } = await reading(orders);
    await bus.publish(orders, { id: "o-1", qty: 3 });
    await bus.publish(orders, { id: "o-2", qty: 4 });
    expect(await until(2)).toEqual([
      { id: "o-1", qty: 3 },
      { id: "o-2", qty: 4 },
    ]);
  });

  test.skipIf(!here)("what an older and a newer writer wrote is read with the reader's schema", async () => {
    const orders = ordersOf(orderCodec());
    const newer = ordersOf(orderCodec({ format: avro<Order>(withNote.schema) }), orders.name);
    const [old, fresher] = [await reading(orders), await open()];
    await old.bus.publish(orders, { id: "o-1", qty: 3 });
    await fresher.publish(newer, { id: "o-2", qty: 4, note: "n" });
    expect(await old.until(2)).toEqual([
      { id: "o-1", qty: 3 },
      { id: "o-2", qty: 4 },
    ]);
    await old.bus.close();
    const late = ordersOf(newer.codec as Codec<Order>);
    const { bus, until } = await reading(late);
    await bus.publish(ordersOf(orderCodec({ subject: () => `${orders.name}-value` }), late.name), {
      id: "o-3",
      qty: 5,
    });
    expect(await until(1)).toEqual([{ id: "o-3", qty: 5, note: "" }]);
  });

  test.skipIf(!here)("a publish that is not compatible is refused, and nothing is stored", async () => {
    const orders = ordersOf(orderCodec());
    const { bus, until } = await reading(orders);
    await bus.publish(orders, { id: "o-1", qty: 3 });
    await client().setCompatibility("BACKWARD", `${orders.name}-value`);
    const changed = topic(orders.name, {
      codec: registered({ registry: client(), format: avro<{ id: string; qty: string }>(qtyAsText.schema) }),
    });
    const writer = await open();
    await expect(writer.publish(changed, { id: "o-2", qty: "4" })).rejects.toMatchObject({ code: "MISMATCH" });
    await bus.publish(orders, { id: "o-3", qty: 5 });
    expect((await until(2)).map(({ id }) => id)).toEqual(["o-1", "o-3"]);
  });

  test.skipIf(!here)(
    "an unknown id and a body without one are dead letters, with their bytes and the reason",
    async () => {
      const orders = ordersOf(orderCodec());
      const { bus, until } = await reading(orders);
      const unknown = withPrefix(1_999_999_999, golden);
      await foreign(orders, unknown);
      await foreign(orders, Buffer.from('{"id":"o-1"}'));
      await bus.publish(orders, { id: "o-2", qty: 1 });
      await until(1);
      const { letters } = await bus.deadLetters(orders, { group: "reader" }).list();
      expect(letters.map(({ body }) => Buffer.from(body ?? []))).toEqual([
        Buffer.from(unknown),
        Buffer.from('{"id":"o-1"}'),
      ]);
      expect(letters.map(({ reason }) => reason)).toEqual(["invalid", "invalid"]);
      expect(letters[0]?.errorMessage).toContain("has schema 1999999999, which the registry does not know");
      expect(letters[1]?.errorMessage).toContain("looks like plain JSON");
    },
  );

  test.skipIf(!here)(
    "the registry stops: what is known flows, what is not waits, and flows when it is back",
    async () => {
      let failures = 0;
      const failed = Promise.withResolvers<void>();
      const watched: RegistryFetch = (url, request) =>
        fetch(url, request).catch((error: unknown) => {
          // Two tries of two runs: the message was held, and is tried again.
          if (++failures === 4) failed.resolve();
          throw error;
        });
      const retry = { attempts: 2, firstDelay: "50ms" } as const;
      const orders = ordersOf(orderCodec({ registry: client({ fetch: watched, retry }) }));
      const { bus, until } = await reading(orders);
      await bus.publish(orders, { id: "o-1", qty: 1 });
      await until(1);
      const other = await client().register(`${orders.name}-value`, withNote);
      const unseen = ordersOf(orderCodec({ registry: client({ retry }) }));
      await server?.stop("graceful");
      onTestFinished(() => server?.start());
      await bus.publish(orders, { id: "o-2", qty: 2 });
      await until(2);
      await expect(bus.publish(unseen, { id: "o-0", qty: 0 })).rejects.toMatchObject({
        code: "UNAVAILABLE",
        outcome: "not-stored",
      });
      await foreign(orders, withPrefix(other.id, Buffer.concat([golden, Buffer.from("\x04ab")])));
      await failed.promise;
      await server?.start();
      expect(await until(3)).toEqual([
        { id: "o-1", qty: 1 },
        { id: "o-2", qty: 2 },
        { id: "o-1", qty: 3 },
      ]);
      expect((await bus.deadLetters(orders, { group: "reader" }).list()).letters).toEqual([]);
    },
  );
});

describe.skipIf(!server)("formats in the registry", () => {
  async function roundTrip<Input, Output>(orders: Topic<Input, Output>, payload: Input): Promise<Output> {
    const bus = await connect(memory());
    onTestFinished(() => bus.close());
    const got = Promise.withResolvers<Output>();
    await bus.subscribe(orders, { group: "reader" }, (each) => got.resolve(each));
    await bus.publish(orders, payload);
    return got.promise;
  }

  test("Avro with types of other files", async () => {
    const line = { type: "record", name: "Line", namespace: "com.example", fields: [{ name: "qty", type: "int" }] };
    const lines = { type: "array", items: "com.example.Line" };
    const cart = { type: "record", name: "com.example.Cart", fields: [{ name: "lines", type: lines }] };
    const format = avro<{ lines: { qty: number }[] }>(cart, { types: [line] });
    const codec = registered({ registry: client(), format, subject: "record" });
    const carts = topic<{ lines: { qty: number }[] }>("carts", { codec, schema: format, groups: ["reader"] });
    expect(await roundTrip(carts, { lines: [{ qty: 3 }] })).toEqual({ lines: [{ qty: 3 }] });
    expect((await client().latest("com.example.Cart")).references).toEqual([
      { name: "com.example.Line", subject: "com.example.Line", version: 1 },
    ]);
  });

  test("JSON Schema, checked by it", async () => {
    const format = jsonSchema<Order>(orderJson);
    const codec = registered({ registry: client(), format });
    const orders = topic<Order>(`json-${randomUUID()}`, { codec, schema: format, groups: ["reader"] });
    expect(await roundTrip(orders, { id: "o-1", qty: 3 })).toEqual({ id: "o-1", qty: 3 });
    expect(await client().latest(`${orders.name}-value`)).toMatchObject({ schemaType: "JSON", version: 1 });
  });

  test.each(["prefix", "header"] as const)("Protobuf, a message inside of another, id as %s", async (schemaId) => {
    const format = protobuf(InnerSchema);
    const codec = registered({ registry: client(), format, schemaId });
    const notes = topic(`proto-${randomUUID()}`, { codec, schema: format, groups: ["reader"] });
    expect(await roundTrip(notes, { x: "hi" })).toMatchObject({ $typeName: "com.example.Other.Inner", x: "hi" });
    const { id, schemaType } = await client().latest(`${notes.name}-value`);
    const message = { system: "memory", topic: notes.name, id: "m", key: null, time: 0, headers: {}, body: null };
    const golden = { prefix: `00${id.toString(16).padStart(8, "0")}0402000a026869`, header: "0a026869" }[schemaId];
    expect(Buffer.from(await codec.encode({ x: "hi" }, message)).toString("hex")).toBe(golden);
    expect([schemaType, message.headers]).toEqual(["PROTOBUF", schemaId === "header" ? { schemaid: `${id}:1.0` } : {}]);
  });

  test.each([
    [
      "Avro",
      avro<Order>(orderText),
      (peer: SchemaRegistry, subject: string) =>
        peer.register({ type: SchemaType.AVRO, schema: orderText }, { subject }),
    ],
    [
      "JSON Schema",
      jsonSchema<Order>(orderJson),
      (peer: SchemaRegistry, subject: string) =>
        peer.register({ type: SchemaType.JSON, schema: JSON.stringify(orderJson) }, { subject }),
    ],
  ] as const)("%s: another client of the registry reads ours, and we read its", async (_what, format, register) => {
    const other = new SchemaRegistry({ host: client().url });
    const name = `peers-${randomUUID()}`;
    const codec = registered({ registry: client(), format });
    const message = { system: "kafka", topic: name, id: "m", key: null, time: 0, headers: {}, body: null };
    const ours = await codec.encode({ id: "o-1", qty: 3 }, message);
    expect({ ...(await other.decode(Buffer.from(ours))) }).toEqual({ id: "o-1", qty: 3 });
    // It compares the level with its own idea of one.
    await client().setCompatibility("BACKWARD", `${name}-value`);
    const { id } = await register(other, `${name}-value`);
    const theirs = await other.encode(id, { id: "o-2", qty: 4 });
    expect(theirs.readInt32BE(1)).toBe(Buffer.from(ours).readInt32BE(1));
    expect(await codec.decode(theirs, message)).toEqual({ id: "o-2", qty: 4 });
  });
});

// The header is text there, and the body bytes that are no text.
describe.skipIf(!server).each(["rabbitmq", "redis", "sqs-sns", "google-pubsub"] as const)("on %s", (broker) => {
  let here: Brokers | undefined;
  afterAll(() => here?.stopAll(), 60_000);

  test("there and back, with the id as prefix and as header", { timeout: 300_000 }, async ({ skip }) => {
    here = await brokers([{ broker }]);
    const [running] = here.available;
    if (!running) return skip(here.unavailable[0]?.why);
    const bus = await connect(await fromUrl(brokerUrl(running)));
    onTestFinished(() => bus.close());
    for (const schemaId of ["prefix", "header"] as const) {
      const orders = topic<Order>(`orders-${randomUUID()}`, {
        codec: orderCodec({ schemaId }),
        groups: ["reader"],
        shards: 1,
      });
      const got = Promise.withResolvers<readonly [Order, string | undefined]>();
      await bus.subscribe(orders, { group: "reader" }, (each, { message }) =>
        got.resolve([each, message.headers["schemaid"]]),
      );
      await bus.publish(orders, { id: "o-1", qty: 3 });
      expect(await got.promise).toEqual([{ id: "o-1", qty: 3 }, schemaId === "header" ? `${goldenId}` : undefined]);
    }
  });
});

describe.skipIf(!server || !running)("Kafka's other clients", () => {
  const raw = new Kafka({ brokers: [...kafkaBrokers], logLevel: logLevel.NOTHING });
  const ordersOf = (codec: Codec<Order>) =>
    topic<Order>(`orders-${randomUUID()}`, { codec, groups: ["reader"], shards: 1 });

  async function produce(name: string, value: Buffer, headers: IHeaders = {}): Promise<void> {
    const producer = raw.producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await producer.connect();
    await producer.send({ topic: name, messages: [{ value, headers }] });
    await producer.disconnect();
  }

  /** The first record of a topic. */
  async function consumed(name: string) {
    const consumer = raw.consumer({ groupId: `raw-${randomUUID()}` });
    await consumer.connect();
    await consumer.subscribe({ topic: name, fromBeginning: true });
    const first = Promise.withResolvers<{ readonly value: Buffer | null; readonly headers: IHeaders }>();
    await consumer.run({
      eachMessage: async ({ message: { value, headers = {} } }) => first.resolve({ value, headers }),
    });
    const record = await first.promise;
    await consumer.disconnect();
    return record;
  }

  test("read our prefix: the golden bytes of the Java serializer", async () => {
    const orders = ordersOf(orderCodec());
    const bus = await connect(kafka({ brokers: kafkaBrokers }));
    onTestFinished(() => bus.close());
    await bus.publish(orders, { id: "o-1", qty: 3 });
    expect(goldenId).toBe(1);
    expect((await consumed(orders.name)).value?.toString("hex")).toBe("0000000001066f2d3106");
  });

  test("read our header as bytes: the GUID where the registry has one, else the id", async () => {
    const withGuids = await front(client().url, { guidOfIds: { 1: goldenGuid } });
    onTestFinished(() => withGuids.close());
    const bus = await connect(kafka({ brokers: kafkaBrokers }));
    onTestFinished(() => bus.close());
    for (const [url, header] of [
      [withGuids.url, "018ef66e2750c84f9dac730b7de2e6ec7a"],
      [client().url, "0000000001"],
    ] as const) {
      const orders = ordersOf(orderCodec({ registry: registry({ url }), schemaId: "header" }));
      await bus.publish(orders, { id: "o-1", qty: 3 });
      const { headers, value } = await consumed(orders.name);
      expect(value?.toString("hex")).toBe("066f2d3106");
      expect((headers["__value_schema_id"] as Buffer).toString("hex")).toBe(header);
    }
  });

  test("write what we read: prefix, header with GUID, header with id", async () => {
    const stored = { schema: orderText };
    const withGuids = await front(client().url, { guids: { [goldenGuid]: stored } });
    onTestFinished(() => withGuids.close());
    const orders = ordersOf(orderCodec({ registry: registry({ url: withGuids.url }) }));
    const bus = await connect(kafka({ brokers: kafkaBrokers }));
    onTestFinished(() => bus.close());
    const got: unknown[] = [];
    const all = Promise.withResolvers<void>();
    await bus.subscribe(orders, { group: "reader", concurrency: 1 }, (order, { message }) => {
      got.push([order, message.headers["__value_schema_id"]]);
      if (got.length === 3) all.resolve();
    });
    await produce(orders.name, Buffer.from("0000000001066f2d3106", "hex"));
    const guid = Buffer.from("018ef66e2750c84f9dac730b7de2e6ec7a", "hex");
    await produce(orders.name, golden, { __value_schema_id: guid });
    await produce(orders.name, golden, { __value_schema_id: Buffer.from("0000000001", "hex") });
    await all.promise;
    const order = { id: "o-1", qty: 3 };
    expect(got).toEqual([
      [order, undefined],
      [order, guid.toString("hex")],
      [order, "0000000001"],
    ]);
    expect(withGuids.requests).toEqual(["GET /schemas/ids/1", `GET /schemas/guids/${goldenGuid}`]);
  });
});
