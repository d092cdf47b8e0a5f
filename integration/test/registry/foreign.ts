import { randomUUID } from "node:crypto";
import { type Codec, connect, topic } from "@sluice/core";
import { kafka } from "@sluice/kafka";
import { registry } from "@sluice/schema/registry";
import { type IHeaders, Kafka, logLevel, Partitioners } from "kafkajs";
import { describe, expect, onTestFinished, test } from "vitest";
import { front } from "../../registry/front.ts";
import {
  client,
  golden,
  goldenGuid,
  goldenId,
  kafkaBrokers,
  type Order,
  orderCodec,
  orderText,
  server,
} from "./support.ts";

/** What programs that know nothing of Sluice write and read on Kafka. */
export function foreignSuite(): void {
  describe.skipIf(!server || kafkaBrokers.length === 0)("Kafka's other clients", () => {
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
}
