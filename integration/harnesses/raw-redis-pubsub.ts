import { Redis } from "ioredis";
import type { RawClient, RawReader, RawRecord } from "@sluice/conformance";

/** ioredis itself, beside the adapter. A channel has messages and nothing else. */
export function openRawRedisPubsub(url: string): RawClient {
  const client = new Redis(url, { maxRetriesPerRequest: null });
  client.on("error", () => {}); // A fault of the broker: the client connects again.
  return {
    lacks: ["key", "headers", "binary-headers", "null-body"],
    async produce(topic, records) {
      for (const { body } of records) await client.publish(topic, Buffer.from(body ?? []));
    },
    consume: (topic) => openReader(url, topic),
    deadLetters: async () => [],
    depth: async () => 0,
    async close() {
      client.disconnect();
    },
  };
}

async function openReader(url: string, topic: string): Promise<RawReader> {
  const subscriber = new Redis(url);
  const seen: RawRecord[] = [];
  const wakers = new Set<() => void>();
  subscriber.on("messageBuffer", (_channel: Buffer, message: Buffer) => {
    seen.push({ key: null, body: message, headers: {} });
    for (const wake of wakers) wake();
  });
  await subscriber.subscribe(topic);
  return {
    async read(count, ms) {
      await new Promise<void>((resolve) => {
        const check = () => {
          if (seen.length >= count) finish();
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
      return seen.splice(0, count);
    },
    async close() {
      subscriber.disconnect();
    },
  };
}
