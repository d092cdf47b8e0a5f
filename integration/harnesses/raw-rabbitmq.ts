import { type Channel, type ChannelModel, connect, type ConsumeMessage, type GetMessage } from "amqplib";
import type { RawClient, RawReader, RawRecord } from "@sluice/conformance";

/** amqplib itself, beside the adapter. A connection that a broker fault took is opened again at the next call. */
export function openRawRabbit(url: string): RawClient {
  let open: Promise<ChannelModel> | undefined;
  const connection = (): Promise<ChannelModel> => {
    open ??= connect(url).then((made) => {
      made.on("error", () => {}); // `close` follows.
      made.on("close", () => (open = undefined));
      return made;
    });
    open.catch(() => (open = undefined));
    return open;
  };
  const withChannel = async <T>(use: (channel: Channel) => Promise<T>): Promise<T> => {
    const channel = await (await connection()).createChannel();
    let failure: unknown;
    channel.on("error", (error: unknown) => (failure = error));
    try {
      return await use(channel);
    } finally {
      if (failure === undefined) await channel.close().catch(() => undefined); // The broker may be gone: then so is the channel.
    }
  };
  /** Waiting messages of a queue; `undefined` when there is no such queue. n.b. a failed look closes the channel. */
  const count = (queue: string): Promise<number | undefined> =>
    withChannel((channel) =>
      channel.checkQueue(queue).then(
        ({ messageCount }) => messageCount,
        (error: unknown) => {
          if (/NOT_FOUND/.test(String(error))) return undefined;
          throw error;
        },
      ),
    );
  const layouts = new Map<string, readonly string[]>();
  return {
    lacks: ["key", "null-body"],
    async produce(topic, records) {
      const channel = await (await connection()).createConfirmChannel();
      for (const { body, headers = {} } of records) {
        // What is not text goes as bytes, which AMQP carries as a type of its own.
        const table = Object.fromEntries(
          Object.entries(headers).map(([name, value]) => [
            name,
            typeof value === "string" ? value : Buffer.from(value),
          ]),
        );
        channel.publish(topic, topic, Buffer.from(body ?? []), { headers: table, persistent: true });
      }
      await channel.waitForConfirms();
      await channel.close();
    },
    consume: async (topic) => openReader(await connection(), topic),
    deadLetters: (topic, group) => withChannel((channel) => peek(channel, `${topic}.${word(group)}.dlq`)),
    /** n.b. AMQP tells what is ready, not what is handed out: cases ask when nobody holds anything. */
    async depth(topic, group) {
      const base = `${topic}.${word(group)}`;
      const known = layouts.get(base) ?? (await findLayout(base, count));
      layouts.set(base, known);
      const counts = await Promise.all(known.map(count));
      return counts.reduce((sum: number, each) => sum + (each ?? 0), 0);
    },
    close: async () => (await open)?.close(),
  };
}

/** One word, which never looks like the last one of a name (`dlq`, shard bits, …). */
function word(group: string): string {
  const escaped = group.replaceAll("%", "%25").replaceAll(".", "%2E");
  if (!/^(dlq|all|members|b?\d+)$/.test(escaped)) return escaped;
  return `%${escaped.charCodeAt(0).toString(16)}${escaped.slice(1)}`;
}

/** An unordered group has one queue; an ordered one a queue per shard, named by its bits. */
async function findLayout(
  base: string,
  count: (queue: string) => Promise<number | undefined>,
): Promise<readonly string[]> {
  if ((await count(base)) !== undefined) return [base];
  if ((await count(`${base}.all`)) !== undefined) return [`${base}.all`];
  for (let bits = 1; bits <= 4; bits++) {
    const names = Array.from({ length: 2 ** bits }, (_, shard) => `${base}.${shard.toString(2).padStart(bits, "0")}`);
    if ((await count(names[0] ?? "")) !== undefined) return names;
  }
  throw new Error(`no queue of ${base} exists`);
}

/** Looks at everything that waits and puts it back. */
async function peek(channel: Channel, queue: string): Promise<readonly RawRecord[]> {
  const { messageCount } = await channel.checkQueue(queue);
  const records: RawRecord[] = [];
  while (records.length < messageCount) {
    const message = await channel.get(queue, { noAck: false });
    if (message === false) break;
    records.push(toRaw(message));
  }
  if (records.length > 0) {
    channel.nackAll(true);
    await untilBack(channel, queue, records.length);
  }
  return records;
}

/** n.b. what was put back is not ready at once: who looks again too soon would see too few. */
async function untilBack(channel: Channel, queue: string, count: number): Promise<void> {
  for (let look = 0; look < 100; look++) {
    if ((await channel.checkQueue(queue)).messageCount >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function openReader(connection: ChannelModel, topic: string): Promise<RawReader> {
  const channel = await connection.createChannel();
  const seen: RawRecord[] = [];
  const wakers = new Set<() => void>();
  const { queue } = await channel.assertQueue("", { exclusive: true, autoDelete: true });
  await channel.bindQueue(queue, topic, "#");
  await channel.consume(
    queue,
    (message: ConsumeMessage | null) => {
      if (message) seen.push(toRaw(message));
      for (const wake of wakers) wake();
    },
    { noAck: true },
  );
  let taken = 0;
  return {
    async read(count, ms) {
      await new Promise<void>((resolve) => {
        const finish = () => {
          clearTimeout(timer);
          wakers.delete(check);
          resolve();
        };
        const check = () => {
          if (seen.length - taken >= count) finish();
        };
        const timer = setTimeout(finish, ms);
        wakers.add(check);
        check();
      });
      const records = seen.slice(taken, taken + count);
      taken += records.length;
      return records;
    },
    close: () => channel.close(),
  };
}

function toRaw({ content, properties }: ConsumeMessage | GetMessage): RawRecord {
  const headers: Record<string, string | Uint8Array> = {};
  for (const [name, value] of Object.entries(properties.headers ?? {}) as [string, unknown][]) {
    if (typeof value === "string" || value instanceof Uint8Array) headers[name] = value;
    else if (value !== undefined && value !== null) headers[name] = JSON.stringify(value);
  }
  // The key is part of the routing key's hash only; the adapter keeps it as a header.
  const key = headers["sluice-key"];
  const { messageId, contentType } = properties as { readonly messageId?: string; readonly contentType?: string };
  return {
    ...(key !== undefined && { key }),
    body: content,
    headers,
    ...(messageId !== undefined && { id: messageId }),
    ...(contentType !== undefined && { contentType }),
  };
}
