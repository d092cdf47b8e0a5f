import { randomUUID } from "node:crypto";
import { type Admin, Kafka, type KafkaMessage, logLevel, Partitioners } from "kafkajs";
import type { RawClient, RawReader, RawRecord } from "@sluice/conformance";

/** Partition → next offset. */
type Offsets = ReadonlyMap<number, bigint>;

interface Range {
  readonly from: Offsets;
  readonly to: Offsets;
}

/** kafkajs itself, beside the adapter. Counts by offsets; reads with a group of its own. */
export async function openRawKafka(brokers: readonly string[]): Promise<RawClient> {
  const client = new Kafka({ brokers: [...brokers], clientId: "conformance-raw", logLevel: logLevel.NOTHING });
  const admin = client.admin();
  const producer = client.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await admin.connect();
  await producer.connect();
  return {
    async produce(topic, records) {
      await producer.send({
        topic,
        messages: records.map(({ key = null, body, headers = {} }) => ({
          key: key === null ? null : Buffer.from(key),
          value: body === null ? null : Buffer.from(body),
          headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(value)])),
        })),
      });
    },
    async consume(topic) {
      return openReader(client, topic, await ends(admin, topic));
    },
    async deadLetters(topic, group) {
      const name = `_${topic}.${part(group)}.dlq`;
      const range = await waiting(admin, name, `${part(group)}.${topic}:dlq`);
      return range === undefined || size(range) === 0 ? [] : readRange(client, name, range);
    },
    async depth(topic, group) {
      const id = `${part(group)}.${topic}`;
      const ranges = [await waiting(admin, topic, id), await waiting(admin, `_${topic}.${part(group)}.retry`, id)];
      return ranges.reduce((sum, range) => sum + (range === undefined ? 0 : size(range)), 0);
    },
    async close() {
      await producer.disconnect();
      await admin.disconnect();
    },
  };
}

function part(group: string): string {
  return group.replaceAll(".", "_-");
}

async function ends(admin: Admin, topic: string): Promise<Offsets> {
  const offsets = await admin.fetchTopicOffsets(topic);
  return new Map(offsets.map(({ partition, high }) => [partition, BigInt(high)]));
}

/** What the group has not committed; `undefined` when there is no such topic. */
async function waiting(admin: Admin, topic: string, groupId: string): Promise<Range | undefined> {
  if (!(await admin.listTopics()).includes(topic)) return undefined;
  const [offsets, committed] = await Promise.all([
    admin.fetchTopicOffsets(topic),
    admin.fetchOffsets({ groupId, topics: [topic] }),
  ]);
  const positions = new Map(committed[0]?.partitions.map(({ partition, offset }) => [partition, BigInt(offset)]));
  return {
    from: new Map(
      offsets.map(({ partition, low }) => {
        const position = positions.get(partition) ?? -1n;
        return [partition, position < 0n ? BigInt(low) : position];
      }),
    ),
    to: new Map(offsets.map(({ partition, high }) => [partition, BigInt(high)])),
  };
}

function size({ from, to }: Range): number {
  let sum = 0n;
  for (const [partition, end] of to) sum += end - (from.get(partition) ?? 0n);
  return Number(sum);
}

/** Every record from the offsets on, as they come. */
async function openReader(client: Kafka, topic: string, from: Offsets): Promise<RawReader> {
  const seen: RawRecord[] = [];
  const wakers = new Set<() => void>();
  const groupId = `conformance-raw-${randomUUID()}`;
  const consumer = client.consumer({ groupId, maxWaitTimeInMs: 100, allowAutoTopicCreation: false });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      if (BigInt(message.offset) < (from.get(partition) ?? 0n)) return;
      seen.push(toRaw(message));
      for (const wake of wakers) wake();
    },
  });
  let taken = 0;
  return {
    async read(count, ms) {
      await new Promise<void>((resolve) => {
        const check = () => {
          if (seen.length - taken < count) return;
          finish();
        };
        const finish = () => {
          clearTimeout(timer);
          wakers.delete(check);
          resolve();
        };
        const timer = setTimeout(finish, ms);
        wakers.add(check);
        check();
      });
      const records = seen.slice(taken, taken + count);
      taken += records.length;
      return records;
    },
    async close() {
      await consumer.disconnect();
      const admin = client.admin();
      await admin.connect();
      await admin.deleteGroups([groupId]).catch(() => undefined); // Only tidiness: the group has no offsets.
      await admin.disconnect();
    },
  };
}

async function readRange(client: Kafka, topic: string, range: Range): Promise<readonly RawRecord[]> {
  const reader = await openReader(client, topic, range.from);
  try {
    return await reader.read(size(range), 15_000);
  } finally {
    await reader.close();
  }
}

function toRaw({ key, value, headers = {} }: KafkaMessage): RawRecord {
  const flat: Record<string, string | Uint8Array> = {};
  for (const [name, given] of Object.entries(headers)) {
    const value = Array.isArray(given) ? given[0] : given;
    if (value !== undefined) flat[name] = value;
  }
  return { key, body: value, headers: flat };
}
