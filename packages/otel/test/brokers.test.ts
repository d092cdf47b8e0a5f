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

const none: Seen = { name: "", kind: "", parent: undefined, links: [], attributes: {} };

/** What one message looks like on a broker: its send span and its process span. */
async function spansOn(other: Driver, native: unknown, shard = ""): Promise<readonly Seen[]> {
  const { bus, clock } = await bench({}, {}, dressed(other, native, shard));
  await clock.run(bus.subscribe(Orders, { group: "billing" }, () => undefined));
  await clock.run(bus.publish(Orders, { orderId: "k1" }, { id: "m-1" }));
  await clock.run(bus.close());
  const spans = sdk.spans();
  return spans;
}

/** A span to its last attribute: nothing else may be on it. */
function send(system: string, verb: string, destination: string, more: object = {}): Seen {
  const name = `${verb} ${destination}`;
  return {
    name,
    kind: "PRODUCER",
    parent: undefined,
    links: [],
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

/** A child of that send span, with a link to it. */
function handle({ name: parent }: Seen, system: string, verb: string, destination: string, more: object = {}): Seen {
  const { name, attributes } = send(system, verb, destination, more);
  const own = { "messaging.operation.type": "process", "messaging.consumer.group.name": "billing" };
  return { name, kind: "CONSUMER", parent, links: [{ to: parent }], attributes: { ...attributes, ...own } };
}

describe("golden spans of", () => {
  test("Kafka", async () => {
    const native = { topic: "shop.orders", partition: 1, offset: "17", value: Buffer.from("{}") };
    const spans = await spansOn(kafka({ brokers: ["127.0.0.1:9092"], prefix: "shop." }), native);
    const key = { "kafka.message.key": "k1" };
    const sent = send("kafka", "send", "shop.orders", key);
    const place = { "messaging.destination.partition.id": "1", "kafka.offset": 17 };
    expect(spans).toEqual([sent, handle(sent, "kafka", "process", "shop.orders", { ...key, ...place })]);
    sdk.reset();
    const [, again] = await spansOn(kafka({ brokers: ["127.0.0.1:9092"] }), {
      ...native,
      topic: "_orders.billing.retry",
    });
    expect(again?.name).toBe("process _orders.billing.retry");
  });

  test("RabbitMQ, with a foreign producer's routing key", async () => {
    const native = { fields: { exchange: "orders", routingKey: "order.created", deliveryTag: 1 }, properties: {} };
    const spans = await spansOn(rabbitmq(), native, "orders.billing.all");
    const sent = send("rabbitmq", "publish", "orders");
    const own = { "rabbitmq.destination.routing_key": "order.created", "rabbitmq.message.delivery_tag": 1 };
    expect(spans).toEqual([sent, handle(sent, "rabbitmq", "consume", "orders:order.created:orders.billing.all", own)]);
  });

  test("RabbitMQ, where the routing key is our own hash of the key", async () => {
    const routingKey = "k.0.1.0.1.0.1.0.1.0.1";
    const native = { fields: { exchange: "orders", routingKey, deliveryTag: 1 }, properties: {} };
    const [sent = none, handled] = await spansOn(rabbitmq(), native, "orders.billing.all");
    const own = { "rabbitmq.destination.routing_key": routingKey, "rabbitmq.message.delivery_tag": 1 };
    expect(handled).toEqual(handle(sent, "rabbitmq", "consume", "orders:orders.billing.all", own));
  });

  test("RabbitMQ, at the end of a delay", async () => {
    const fields = { exchange: "shop.sluice.delay.due", routingKey: "1:orders.billing", deliveryTag: 2 };
    const [sent = none, handled] = await spansOn(rabbitmq(), { fields, properties: {} }, "orders.billing");
    const own = { "rabbitmq.message.delivery_tag": 2 };
    expect(handled).toEqual(handle(sent, "rabbitmq", "consume", "orders.billing", own));
  });

  test("SQS and SNS", async () => {
    const sent = send("aws.sns", "publish", "orders.fifo");
    const handled = handle(sent, "aws.sqs", "process", "orders_to-billing.fifo");
    expect(await spansOn(sqsSns({ region: "eu-central-1" }), {})).toEqual([sent, handled]);
  });

  test("Google Pub/Sub", async () => {
    const key = { "gcp.pubsub.message.ordering_key": "k1" };
    const sent = send("gcp.pubsub", "send", "orders", key);
    const own = {
      "messaging.destination.subscription.name": "orders~billing",
      "gcp.pubsub.message.delivery_attempt": 1,
    };
    const handled = handle(sent, "gcp.pubsub", "subscribe", "orders~billing", { ...key, ...own });
    expect(await spansOn(googlePubsub({ projectId: "shop" }), {})).toEqual([sent, handled]);
  });

  test.for([
    ["Redis Streams", redis(), "redis", "xadd"],
    ["Redis Pub/Sub", redisPubsub(), "redis", "publish"],
    ["memory", memory(), "sluice.memory", "send"],
  ] as const)("%s", async ([, driver, system, verb]) => {
    const sent = send(system, verb, "orders");
    expect(await spansOn(driver, {})).toEqual([sent, handle(sent, system, "process", "orders")]);
  });

  test("a broker whose address the service tells, on every span", async () => {
    const attributes = { "server.address": "kafka-1", "server.port": 9092 };
    const { bus, clock } = await bench({ attributes }, {}, dressed(kafka({ brokers: ["kafka-1:9092"] }), {}));
    await clock.run(bus.publish(Orders, { orderId: "k1" }, { id: "m-1" }));
    await clock.run(bus.close());
    const own = { "kafka.message.key": "k1", ...attributes };
    expect(sdk.spans()).toEqual([send("kafka", "send", "orders", own)]);
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
    const sent = send("aws.sns", "publish", "orders.fifo", { "messaging.system": "aws.sns" });
    const older = { "messaging.system": "aws_sqs" };
    const handled = handle(sent, "aws.sqs", "process", "orders_to-billing.fifo", older);
    expect(await spansOn(sqsSns({ region: "eu-central-1" }), {})).toEqual([sent, handled]);
    sdk.reset();
    const native = { topic: "orders", partition: 1, offset: "17", value: null };
    const [first = none, kafkas] = await spansOn(kafka({ brokers: ["127.0.0.1:9092"] }), native);
    const both = {
      "messaging.system": "kafka",
      "messaging.destination.partition.id": "1",
      "kafka.message.key": "k1",
      "kafka.offset": 17,
      "messaging.kafka.offset": 17,
      "messaging.kafka.message.key": "k1",
      "kafka.message.tombstone": true,
      "messaging.kafka.message.tombstone": true,
    };
    expect(kafkas).toEqual(handle(first, "kafka", "process", "orders", both));
  });

  test("messaging alone is what there is anyway", async () => {
    vi.stubEnv("OTEL_SEMCONV_STABILITY_OPT_IN", "messaging");
    const [sent] = await spansOn(memory(), {});
    expect(sent?.attributes).not.toHaveProperty("messaging.system");
  });
});
