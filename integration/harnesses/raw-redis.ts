import type { Cluster, Redis } from "ioredis";
import type { RawClient, RawReader, RawRecord } from "@sluice/conformance";

type Entry = [id: Buffer, fields: Buffer[]];

/** ioredis itself, beside the adapter: streams as their documentation in the README says. */
export async function openRawRedis(open: () => Redis | Cluster): Promise<RawClient> {
  const client = open();
  client.on("error", () => {}); // A fault of the broker: the client connects again.
  const shardsOf = async (topic: string) => Number((await client.hget(`{${topic}}:meta`, "shards")) ?? 1);
  const streamsOf = async (topic: string) =>
    Array.from({ length: await shardsOf(topic) }, (_, shard) => streamOf(topic, shard));
  return {
    lacks: ["null-body"],
    async produce(topic, records) {
      const shards = await shardsOf(topic);
      const pipeline = client.pipeline();
      for (const record of records) {
        const shard = record.key == null ? 0 : hash(Buffer.from(record.key)) % shards;
        pipeline.xadd(streamOf(topic, shard), "*", ...fieldsOf(record));
      }
      for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
    },
    consume: async (topic) => openReader(open(), client, await streamsOf(topic)),
    async deadLetters(topic, group) {
      return ((await client.xrangeBuffer(`{${topic}}:dlq:${group}`, "-", "+")) as Entry[]).map(toRaw);
    },
    async depth(topic, group) {
      const topicStreams = await streamsOf(topic);
      const own = topicStreams.map((_, shard) => `{${topic}}:own:${shard}:${group}`);
      const counts = await Promise.all([...topicStreams, ...own].map((stream) => unsettled(client, stream, group)));
      return counts.reduce((sum, count) => sum + count, 0);
    },
    async close() {
      client.disconnect();
    },
  };
}

function streamOf(topic: string, shard: number): string {
  return shard === 0 ? topic : `{${topic}}:shard:${shard}`;
}

/** FNV-1a, as the README says. */
function hash(key: Buffer): number {
  let value = 0x811c9dc5;
  for (const byte of key) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}

function fieldsOf({ key, body, headers = {} }: RawRecord): (string | Buffer)[] {
  const fields: (string | Buffer)[] = ["data", Buffer.from(body ?? [])];
  if (key != null) fields.push("key", Buffer.from(key));
  for (const [name, value] of Object.entries(headers)) fields.push(name, Buffer.from(value));
  return fields;
}

/** Delivered and pending, and what comes after the group's position. */
async function unsettled(client: Redis | Cluster, stream: string, group: string): Promise<number> {
  if ((await client.exists(stream)) === 0) return 0;
  const groups = (await client.call("xinfo", "GROUPS", stream)) as unknown[][];
  for (const info of groups) {
    const values = new Map<unknown, unknown>();
    for (let index = 0; index < info.length; index += 2) values.set(info[index], info[index + 1]);
    if (values.get("name") !== group) continue;
    const after = await client.xrange(stream, `(${String(values.get("last-delivered-id"))}`, "+");
    return Number(values.get("pending")) + after.length;
  }
  return 0;
}

async function openReader(
  reader: Redis | Cluster,
  client: Redis | Cluster,
  streams: readonly string[],
): Promise<RawReader> {
  const ids: string[] = [];
  for (const stream of streams) {
    const last = await client.xrevrange(stream, "+", "-", "COUNT", 1);
    ids.push(last[0]?.[0] ?? "0-0");
  }
  return {
    async read(count, ms) {
      const records: RawRecord[] = [];
      const end = performance.now() + ms;
      while (records.length < count && performance.now() < end) {
        const left = Math.max(1, Math.ceil(end - performance.now()));
        const found = (await reader.xreadBuffer("BLOCK", left, "STREAMS", ...streams, ...ids)) as
          | [Buffer, Entry[]][]
          | null;
        for (const [stream, entries] of found ?? []) {
          for (const entry of entries) {
            ids[streams.indexOf(stream.toString())] = entry[0].toString();
            records.push(toRaw(entry));
          }
        }
      }
      return records.slice(0, count);
    },
    async close() {
      reader.disconnect();
    },
  };
}

/** Every field but the payload and the key is a header; ours are in one field, as JSON. */
function toRaw([, flat]: Entry): RawRecord {
  const headers: Record<string, string | Uint8Array> = {};
  let body: Uint8Array | null = null;
  let key: Uint8Array | null = null;
  for (let index = 0; index + 1 < flat.length; index += 2) {
    const name = String(flat[index]);
    const value = flat[index + 1] ?? Buffer.alloc(0);
    if (name === "data") body = value;
    else if (name === "key") key = value;
    else if (name === "sluice-headers") Object.assign(headers, JSON.parse(value.toString()));
    else headers[name] = value;
  }
  return { key, body, headers };
}
