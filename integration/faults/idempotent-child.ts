/** A member that handles messages once, in a process of its own, and that kills itself at one named step. Told by its argument. */
import { subscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { connect, events, type SettledEvent, topic } from "@sluice/core";
import {
  idempotent,
  type IdempotencyStore,
  inbox,
  type PooledClient,
  redisStore,
  type SqlQueries,
} from "@sluice/middleware";
import { redis } from "@sluice/redis";
import { Redis } from "ioredis";
import { Pool } from "pg";
import type { IdempotentTask, Line, Step } from "./idempotent-task.ts";

const leaseMs = 500;

async function main(task: IdempotentTask): Promise<void> {
  const client = new Redis(task.redis);
  const pool = new Pool({ connectionString: task.postgres, max: 4 });
  pool.on("error", () => {}); // connections that nobody uses
  subscribe(events.settled.name, (event) => say({ event: "settled", ...idAndFate(event) }));
  const bus = await connect(redis({ url: task.redis, leaseMs }));
  const counters = await (task.postgres === undefined ? withStore(task, bus, client) : withInbox(task, bus, pool));
  say({ event: "live" });
  await bus.run({ deadline: "1s" });
  say({ event: "end", counters: { ...counters } });
  client.disconnect();
  await pool.end();
  process.stdin.destroy();
}

type RedisBus = Awaited<ReturnType<typeof connect<ReturnType<typeof redis>["capabilities"], unknown, unknown>>>;

async function withStore(task: IdempotentTask, bus: RedisBus, client: Redis): Promise<object> {
  const die = dying(task);
  const once = idempotent(watched(redisStore(client), task, client, die), { lock: task.lockMs });
  const messages = topic(task.topic);
  await bus.subscribe(messages, { ...alone(task), middleware: { attempt: [once] } }, async (_, { message }) => {
    await begin(task, message.id, die);
    await client.rpush(`effects:${task.topic}`, message.id);
    await die("after the effect");
  });
  return once.counters;
}

/** One message at a time, so that it is known which one a member dies with. */
const alone = ({ group }: IdempotentTask) => ({ group, concurrency: 1, window: 1 });

/** Counts what is recorded, beside the store. */
function watched(store: IdempotencyStore, task: IdempotentTask, client: Redis, die: Die): IdempotencyStore {
  return {
    async acquire(...all) {
      await die("before the lock");
      const answer = await store.acquire(...all);
      if (answer.state === "acquired") await die("with the lock");
      if (answer.state === "locked") say({ event: "deferred", id: idOf(all[0]) });
      return answer;
    },
    renew: (...all) => store.renew(...all),
    async complete(...all) {
      const completed = await store.complete(...all);
      if (completed) await client.rpush(`completed:${task.topic}`, idOf(all[0]));
      await die("after the record");
      return completed;
    },
    release: (...all) => store.release(...all),
  };
}

const idOf = (key: string): string => key.split("/").at(-1) ?? "";

async function withInbox(task: IdempotentTask, bus: RedisBus, pool: Pool): Promise<object> {
  const die = dying(task);
  const handled = inbox(
    { connect: async () => watchedClient(await pool.connect(), die) },
    async (_payload: unknown, { message, transaction }) => {
      await begin(task, message.id, die);
      await transaction.query("INSERT INTO member_effects (topic, id) VALUES ($1, $2)", [task.topic, message.id]);
      await die("after the effect");
    },
    { defer: 200 },
  );
  await bus.subscribe(topic(task.topic), alone(task), async (payload, context) => {
    const outcome = await handled(payload, context);
    if (outcome) say({ event: "deferred", id: context.message.id });
    return outcome;
  });
  return handled.counters;
}

function watchedClient(client: PooledClient, die: Die): PooledClient {
  const query: SqlQueries["query"] = async (text, values) => {
    if (text === "BEGIN") await die("before the transaction");
    const answer = client.query(text, values);
    if (text === "COMMIT") await die("with the commit sent");
    const result = await answer;
    if (text.startsWith("WITH turn")) await die("with the mark");
    if (text === "COMMIT") await die("after the commit");
    return result;
  };
  return {
    query,
    release: (broken) => client.release(broken),
    on: (event, listener) => client.on?.(event, listener),
    removeListener: (event, listener) => client.removeListener?.(event, listener),
  };
}

let told: Promise<unknown> | undefined;

async function begin(task: IdempotentTask, id: string, die: Die): Promise<void> {
  say({ event: "handling", id });
  await die("in the handler");
  if (task.waits) await (told ??= once(process.stdin, "data"));
}

type Die = (at: Step) => Promise<void>;

/** n.b. SIGKILL to oneself: nothing of this process runs after the call. */
function dying({ dies }: IdempotentTask): Die {
  return async (at) => {
    if (at === dies) process.kill(process.pid, "SIGKILL");
  };
}

function idAndFate(event: unknown): { readonly id: string; readonly fate: string } {
  const { id, fate } = event as SettledEvent; // the type that the channel has
  return { id, fate };
}

function say(line: Line): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

if (process.argv[2] !== undefined) await main(JSON.parse(process.argv[2]) as IdempotentTask);
