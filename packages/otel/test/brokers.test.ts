import { topic } from "@sluice/core";
import type { Driver } from "@sluice/core/driver";
import { googlePubsub } from "@sluice/google-pubsub";
import { kafka } from "@sluice/kafka";
import { memory } from "@sluice/memory";
import { rabbitmq } from "@sluice/rabbitmq";
import { redis, redisPubsub } from "@sluice/redis";
import { sqsSns } from "@sluice/sqs-sns";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { rabbitName } from "../src/places.ts";
import { bench } from "./support/bench.ts";
import { dressed } from "./support/dressed.ts";
import { registerSdk, type Seen } from "./support/sdk.ts";

const sdk = registerSdk();
beforeEach(() => sdk.reset());
afterEach(() => void vi.unstubAllEnvs());

const Orders = topic<{ orderId: string }>("orders", { key: ({ orderId }) => orderId, groups: ["billing"], shards: 1 });

/** What one message looks like on a broker: its send span and its process span. */
async function spansOn(other: Driver, native: unknown, shard = ""): Promise<readonly Seen[]> {
  const { bus, clock } = await bench({}, {}, dressed(other, native, shard));
  await clock.run(bus.subscribe(Orders, { group: "billing" }, () => undefined));
  await clock.run(bus.publish(Orders, { orderId: "k1" }, { id: "m-1" }));
  await clock.run(bus.close());
  const spans = sdk.spans();
  expect(spans.map(({ kind }) => kind)).toEqual(["PRODUCER", "CONSUMER"]);
  expect(spans[1]).toMatchObject({ parent: spans[0]?.name, links: [{ to: spans[0]?.name }] });
  return spans;
}

function send(system: string, verb: string, destination: string, more: object = {}): Partial<Seen> {
  return {
    name: `${verb} ${destination}`,
    attributes: {
      "messaging.system.name": system,
      "messaging.operation.name": verb,
      "messaging.operation.type": "send",
      "messaging.destination.name": destination,
      "messaging.message.id": "m-1",
      "messaging.client.id": "svc",
      ...more,
    },
  };
}

function handle(system: string, verb: string, destination: string, more: object = {}): Partial<Seen> {
  const { name, attributes } = send(system, verb, destination, more);
  const own = { "messaging.operation.type": "process", "messaging.consumer.group.name": "billing" };
  return { name: name ?? "", attributes: { ...attributes, ...own } };
}

describe("golden spans of", () => {
  test("Kafka", async () => {
    const native = { topic: "shop.orders", partition: 1, offset: "17", value: Buffer.from("{}") };
    const [sent, handled] = await spansOn(kafka({ brokers: ["127.0.0.1:9092"], prefix: "shop." }), native);
    const key = { "kafka.message.key": "k1" };
    expect(sent).toMatchObject(send("kafka", "send", "shop.orders", key));
    const place = { "messaging.destination.partition.id": "1", "kafka.offset": 17 };
    expect(handled).toMatchObject(handle("kafka", "process", "shop.orders", { ...key, ...place }));
    expect(handled?.attributes).not.toHaveProperty("kafka.message.tombstone");
    sdk.reset();
    const [, again] = await spansOn(kafka({ brokers: ["127.0.0.1:9092"] }), {
      ...native,
      topic: "_orders.billing.retry",
    });
    expect(again?.name).toBe("process _orders.billing.retry");
  });

  test("RabbitMQ, with a foreign producer's routing key", async () => {
    const native = { fields: { exchange: "orders", routingKey: "order.created", deliveryTag: 1 }, properties: {} };
    const [sent, handled] = await spansOn(rabbitmq(), native, "orders.billing.all");
    expect(sent).toMatchObject(send("rabbitmq", "publish", "orders"));
    const own = { "rabbitmq.destination.routing_key": "order.created", "rabbitmq.message.delivery_tag": 1 };
    expect(handled).toMatchObject(handle("rabbitmq", "consume", "orders:order.created:orders.billing.all", own));
  });

  test("RabbitMQ, where the routing key is our own hash of the key", async () => {
    const routingKey = "k.0.1.0.1.0.1.0.1.0.1";
    const native = { fields: { exchange: "orders", routingKey, deliveryTag: 1 }, properties: {} };
    const [, handled] = await spansOn(rabbitmq(), native, "orders.billing.all");
    expect(handled?.name).toBe("consume orders:orders.billing.all");
  });

  test("RabbitMQ, at the end of a delay", async () => {
    const fields = { exchange: "shop.sluice.delay.due", routingKey: "1:orders.billing", deliveryTag: 2 };
    const [, handled] = await spansOn(rabbitmq(), { fields, properties: {} }, "orders.billing");
    expect(handled?.name).toBe("consume orders.billing");
    expect(handled?.attributes).toMatchObject({ "rabbitmq.message.delivery_tag": 2 });
    expect(handled?.attributes).not.toHaveProperty("rabbitmq.destination.routing_key");
  });

  test("SQS and SNS", async () => {
    const [sent, handled] = await spansOn(sqsSns({ region: "eu-central-1" }), {});
    expect(sent).toMatchObject(send("aws.sns", "publish", "orders.fifo"));
    expect(handled).toMatchObject(handle("aws.sqs", "process", "orders_to-billing.fifo"));
  });

  test("Google Pub/Sub", async () => {
    const [sent, handled] = await spansOn(googlePubsub({ projectId: "shop" }), {});
    const key = { "gcp.pubsub.message.ordering_key": "k1" };
    expect(sent).toMatchObject(send("gcp.pubsub", "send", "orders", key));
    const own = {
      "messaging.destination.subscription.name": "orders~billing",
      "gcp.pubsub.message.delivery_attempt": 1,
    };
    expect(handled).toMatchObject(handle("gcp.pubsub", "subscribe", "orders~billing", { ...key, ...own }));
  });

  test("Redis Streams, Redis Pub/Sub and memory", async () => {
    expect(await spansOn(redis(), {})).toMatchObject([
      send("redis", "xadd", "orders"),
      handle("redis", "process", "orders"),
    ]);
    sdk.reset();
    expect(await spansOn(redisPubsub(), {})).toMatchObject([
      send("redis", "publish", "orders"),
      handle("redis", "process", "orders"),
    ]);
    sdk.reset();
    expect(await spansOn(memory(), {})).toMatchObject([
      send("sluice.memory", "send", "orders"),
      handle("sluice.memory", "process", "orders"),
    ]);
  });
});

test("names of RabbitMQ destinations", () => {
  const cases = [
    ["ex", "rk", "", "ex:rk"],
    ["", "q", "", "q"],
    ["ex", "", "", "ex"],
    ["", "", "", "amq.default"],
    ["ex", "q", "q", "ex:q"],
    ["", "q", "q", "q"],
    ["ex", "rk", "q", "ex:rk:q"],
  ] as const;
  for (const [exchange, key, queue, name] of cases) expect(rabbitName(exchange, key, queue)).toBe(name);
});

describe("OTEL_SEMCONV_STABILITY_OPT_IN", () => {
  test("messaging/dup adds the names until 1.44, and changes no name or kind", async () => {
    vi.stubEnv("OTEL_SEMCONV_STABILITY_OPT_IN", "http, messaging/dup,messaging");
    const [sent, handled] = await spansOn(sqsSns({ region: "eu-central-1" }), {});
    expect(sent).toMatchObject(send("aws.sns", "publish", "orders.fifo", { "messaging.system": "aws.sns" }));
    const older = { "messaging.system": "aws_sqs" };
    expect(handled).toMatchObject(handle("aws.sqs", "process", "orders_to-billing.fifo", older));
    sdk.reset();
    const native = { topic: "orders", partition: 1, offset: "17", value: null };
    const [, kafkas] = await spansOn(kafka({ brokers: ["127.0.0.1:9092"] }), native);
    expect(kafkas?.attributes).toMatchObject({
      "messaging.system": "kafka",
      "kafka.offset": 17,
      "messaging.kafka.offset": 17,
      "messaging.kafka.message.key": "k1",
      "kafka.message.tombstone": true,
      "messaging.kafka.message.tombstone": true,
    });
  });

  test("messaging alone is what there is anyway", async () => {
    vi.stubEnv("OTEL_SEMCONV_STABILITY_OPT_IN", "messaging");
    const [sent] = await spansOn(memory(), {});
    expect(sent?.attributes).not.toHaveProperty("messaging.system");
  });
});
