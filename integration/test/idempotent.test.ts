// A member that is killed at every step of handling a message once, on a real broker and real stores: what another one finds.
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { connect, topic } from "@sluice/core";
import { createIdempotencyTable, redisStore } from "@sluice/middleware";
import { storeCases } from "@sluice/middleware/store-cases";
import { redis, type RedisOptions } from "@sluice/redis";
import { Cluster, Redis } from "ioredis";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { brokers } from "../brokers/index.ts";
import { type IdempotentTask, inboxSteps, type Line, storeSteps } from "../faults/idempotent-task.ts";
import { startClusterNodes } from "../harnesses/redis-cluster-nodes.ts";
import { postgres } from "../postgres/index.ts";

const child = fileURLToPath(new URL("../faults/idempotent-child.ts", import.meta.url));
const [started, database] = await Promise.all([brokers([{ broker: "redis" }]), postgres()]);
process.stdout.write(`${started.table()}\n${database.line}\n`);
afterAll(() => Promise.all([started.stopAll(), database.running?.stop()]), 60_000);

const [broker] = started.available;
const url = broker?.address.kind === "url" ? broker.address.url : "";
const { running } = database;
const ids = ["a", "b", "c"];

/** A member, and what it says. */
class Member {
  readonly #process: ChildProcess;
  readonly #lines: Line[] = [];
  #heard = Promise.withResolvers<void>();
  readonly exit: Promise<unknown[]>;

  constructor(task: IdempotentTask) {
    const conditions = ["--conditions=@sluice/source", "--disable-warning=TimeoutNegativeWarning"];
    this.#process = spawn(process.execPath, [...conditions, child, JSON.stringify(task)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.exit = once(this.#process, "exit");
    onTestFinished(() => void this.#process.kill("SIGKILL"));
    const { stdout } = this.#process;
    if (!stdout) throw new Error("a child without its output");
    createInterface({ input: stdout }).on("line", (line) => {
      this.#lines.push(JSON.parse(line) as Line);
      this.#heard.resolve();
      this.#heard = Promise.withResolvers();
    });
  }

  /** Resolves with the lines as soon as they are enough. */
  async until(enough: (lines: readonly Line[]) => boolean): Promise<readonly Line[]> {
    const ended = this.exit.then((how) => {
      if (!enough(this.#lines)) throw new Error(`a member ended with ${how.join()}, before it was time`);
    });
    while (!enough(this.#lines)) await Promise.race([this.#heard.promise, ended]);
    return this.#lines;
  }

  /** Messages that it is done with. */
  get done(): number {
    return this.#lines.filter((line) => line.event === "settled" && line.fate === "done").length;
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  write(text: string): void {
    this.#process.stdin?.write(text);
  }

  /** Stops it in order; what it counted. */
  async end(): Promise<Readonly<Record<string, number>>> {
    this.signal("SIGTERM");
    const lines = await this.until((all) => all.some(({ event }) => event === "end"));
    await this.exit;
    const last = lines.find((line) => line.event === "end");
    return last?.event === "end" ? last.counters : {};
  }
}

const done = (id: string) => (lines: readonly Line[]) =>
  lines.some((line) => line.event === "settled" && line.id === id && line.fate === "done");
const allDone = (lines: readonly Line[]) => ids.every((id) => done(id)(lines));
const handling = (lines: readonly Line[]) => lines.some(({ event }) => event === "handling");

async function newTask(options: Partial<IdempotentTask> = {}): Promise<IdempotentTask> {
  const task = { redis: url, topic: `once-${randomUUID()}`, group: "worker", lockMs: 1500, ...options };
  await publish(task);
  return task;
}

async function publish(task: IdempotentTask, options: RedisOptions = {}): Promise<void> {
  const bus = await connect(redis({ url, ...options }));
  const messages = topic(task.topic, { groups: [task.group] });
  for (const id of ids) await bus.publish(messages, id, { id });
  await bus.close();
}

/** One is killed at the step; another one goes on until every message is done. */
async function killedAt(task: IdempotentTask): Promise<void> {
  const victim = new Member(task);
  expect(await victim.exit).toEqual([null, "SIGKILL"]);
  const { dies: _, ...heirs } = task;
  const heir = new Member(heirs);
  const before = await victim.until(() => true);
  const settled = ids.filter((id) => done(id)(before));
  await heir.until((lines) => ids.every((id) => settled.includes(id) || done(id)(lines)));
  await heir.end();
}

let client: Redis;
beforeAll(() => {
  if (broker) client = new Redis(url);
});
afterAll(() => client?.disconnect());
const counted = async (what: "effects" | "completed", name: string) =>
  (await client.lrange(`${what}:${name}`, 0, -1)).toSorted();

describe.skipIf(!broker)("redisStore", () => {
  test.for(storeCases)("$name", ({ run }) =>
    expect(run({ store: redisStore(client), wait, newKey: randomUUID })).resolves.toBeUndefined(),
  );
});

describe("redisStore on a cluster", () => {
  test("does what every store must do", async ({ skip }) => {
    const nodes = (await startClusterNodes()) ?? skip("there is no redis-server in the PATH");
    onTestFinished(() => nodes.stop());
    const cluster = new Cluster(nodes.urls.split(","));
    onTestFinished(() => cluster.disconnect());
    const harness = { store: redisStore(cluster), wait, newKey: randomUUID };
    const results = await Promise.allSettled(storeCases.map(({ run }) => run(harness)));
    expect(results.filter(({ status }) => status === "rejected")).toEqual([]);
  });
});

describe.skipIf(!broker)("idempotent with a Redis store", () => {
  test.for(storeSteps)("a member is killed %s", async (dies) => {
    const task = await newTask({ dies });
    await killedAt(task);
    expect(await counted("completed", task.topic)).toEqual(ids);
    // The one gap: an effect that nobody could record any more happens again.
    const twice = dies === "after the effect" ? ["a"] : [];
    expect(await counted("effects", task.topic)).toEqual([...twice, ...ids].toSorted());
  });

  test("a member that stands still loses its lock, and completes nothing", async () => {
    const task = await newTask({ waits: true });
    const late = new Member(task);
    await late.until(handling);
    late.signal("SIGSTOP");
    const { waits: _, ...others } = task;
    const other = new Member(others);
    await other.until(allDone);
    expect(await counted("completed", task.topic)).toEqual(ids);
    late.signal("SIGCONT");
    late.write("go on\n");
    // What it was holding is lost to it, by broker and store.
    await late.until((lines) => lines.some((line) => line.event === "settled" && line.fate === "lost"));
    expect(await late.end()).toMatchObject({ completed: 0 });
    await other.end();
    expect(await counted("completed", task.topic)).toEqual(ids);
    expect(await client.get(`sluice:idempotent:worker/${task.topic}/a`)).toBe("done");
  });

  test("of two members with the same message one handles it, and the other waits for it", async () => {
    const task = await newTask({ waits: true });
    const one = new Member(task);
    await one.until(handling);
    const { waits: _, ...others } = task;
    const other = new Member(others);
    await other.until((lines) => lines.some(({ event }) => event === "live"));
    // n.b. the broker itself would leave out the second write of an id.
    await publish(task, { deduplicationMs: 0 });
    await other.until((lines) => lines.some((line) => line.event === "deferred"));
    one.write("go on\n");
    const both = [one, other];
    await until(async () => one.done + other.done === 2 * ids.length);
    const counters = await Promise.all(both.map((member) => member.end()));
    const sum = (name: string) => counters.reduce((total, each) => total + (each[name] ?? 0), 0);
    expect({ completed: sum("completed"), duplicates: sum("duplicates") }).toEqual({ completed: 3, duplicates: 3 });
    expect(await counted("completed", task.topic)).toEqual(ids);
    expect(await counted("effects", task.topic)).toEqual(ids);
  });
});

async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await wait(20);
}

describe.skipIf(!broker || !running)("inbox on PostgreSQL", () => {
  let sql: Client;
  beforeAll(async () => {
    sql = new Client({ connectionString: running?.url });
    await sql.connect();
    await sql.query("CREATE TABLE IF NOT EXISTS member_effects (topic text, id text)");
    await createIdempotencyTable(sql);
  });
  afterAll(() => sql.end());

  const effects = async (name: string) =>
    (await sql.query<{ id: string }>("SELECT id FROM member_effects WHERE topic = $1 ORDER BY id", [name])).rows.map(
      ({ id }) => id,
    );
  const inboxTask = (options: Partial<IdempotentTask>) =>
    newTask({ ...(running && { postgres: running.url }), ...options });

  test.for(inboxSteps)("a member is killed %s", async (dies) => {
    const task = await inboxTask({ dies });
    await killedAt(task);
    expect(await effects(task.topic)).toEqual(ids);
  });

  test("a member that stands still keeps others away, and its effect happens once", async () => {
    const task = await inboxTask({ waits: true });
    const late = new Member(task);
    await late.until(handling);
    late.signal("SIGSTOP");
    const { waits: _, ...others } = task;
    const other = new Member(others);
    await other.until((lines) => lines.some(({ event }) => event === "deferred"));
    expect(await effects(task.topic)).toEqual([]);
    late.signal("SIGCONT");
    late.write("go on\n");
    await until(async () => (await effects(task.topic)).length === ids.length);
    await Promise.all([late.end(), other.end()]);
    expect(await effects(task.topic)).toEqual(ids);
  });
});
