// Every codec against the broker's own Java classes: it unpacks what we wrote and packs it anew, and we read what it wrote.
import { randomUUID } from "node:crypto";
import { connect, topic } from "@sluice/core";
import { type Compression, kafka } from "@sluice/kafka";
import { Kafka, logLevel } from "kafkajs";
import { afterAll, expect, test } from "vitest";
import { brokers } from "../brokers/index.ts";

const started = await brokers([{ broker: "kafka" }]);
process.stdout.write(`${started.table()}\n`);
afterAll(() => started.stopAll(), 60_000);
const [running] = started.available;
const address = running?.address.kind === "brokers" ? running.address.brokers : [];

interface Order {
  readonly n: number;
  readonly text: string;
}

/** Some get much smaller, some do not, and together they are more than one block of any codec. */
const orders: readonly Order[] = Array.from({ length: 300 }, (_, n) => ({
  n,
  text: n % 3 === 0 ? Array.from({ length: 20 }, () => randomUUID()).join() : "order ".repeat(n),
}));

/** A topic whose batches the broker packs with another codec than the producer did. */
async function create(name: string, compression: string): Promise<void> {
  const admin = new Kafka({ brokers: [...address], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const configEntries = [{ name: "compression.type", value: compression }];
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic: name, numPartitions: 1, configEntries }] });
  await admin.disconnect();
}

const pairs: readonly (readonly [Compression, Compression])[] = [
  ["gzip", "snappy"],
  ["snappy", "lz4"],
  ["lz4", "zstd"],
  ["zstd", "gzip"],
];

test.skipIf(!running).each(pairs)("written as %s, stored by the broker as %s", async (written, stored) => {
  const name = `packed-${written}-${randomUUID()}`;
  await create(name, stored);
  const bus = await connect(kafka({ brokers: address, compression: written }));
  const packed = topic<Order>(name, { groups: ["reader"], shards: 1 });
  const read: Order[] = [];
  const all = Promise.withResolvers<void>();
  await bus.subscribe(packed, { group: "reader", concurrency: 1 }, async (order) => {
    read.push(order);
    if (read.length === orders.length) all.resolve();
  });
  await Promise.all(orders.map((order) => bus.publish(packed, order)));
  await all.promise;
  await bus.close();
  expect(read).toEqual(orders);
});
