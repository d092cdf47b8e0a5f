// The stores' own cases on a real PostgreSQL through `pg`, and what only a server has: many connections, restarts, a driver's pool.
import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { connect, type Context, topic } from "@sluice/core";
import { createIdempotencyTable, deleteExpired, idempotent, inbox, postgresStore } from "@sluice/middleware";
import { storeCases } from "@sluice/middleware/store-cases";
import { memory } from "@sluice/memory";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { postgres } from "../postgres/index.ts";

const { line, running } = await postgres();
process.stdout.write(`${line}\n`);
afterAll(() => running?.stop(), 60_000);

describe.skipIf(!running)("PostgreSQL", () => {
  let pool: Pool;
  beforeAll(async () => {
    pool = new Pool({ connectionString: running?.url, max: 20 });
    pool.on("error", () => {}); // connections that nobody uses, when the server goes
    await createIdempotencyTable(pool);
    await pool.query("CREATE TABLE IF NOT EXISTS pool_effects (name text, n int)");
    await pool.query("CREATE TABLE IF NOT EXISTS pool_entries (n int CHECK (n < 0))");
  });
  afterAll(() => pool?.end());

  const effects = async (name: string) =>
    (await pool.query<{ n: number }>("SELECT n FROM pool_effects WHERE name = $1 ORDER BY n", [name])).rows.map(
      ({ n }) => n,
    );

  test.for(storeCases)("postgresStore: $name", ({ run }) =>
    expect(run({ store: postgresStore(pool), wait, newKey: randomUUID })).resolves.toBeUndefined(),
  );

  test("many at once take over what has expired: one gets it, every time", async () => {
    const store = postgresStore(pool);
    for (let round = 0; round < 30; round++) {
      const key = randomUUID();
      await pool.query("INSERT INTO sluice_idempotency VALUES ($1, $2, clock_timestamp())", [
        key,
        round % 2 ? "old" : null,
      ]);
      const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => store.acquire(key, `owner-${n}`, 60_000)));
      const states = answers.map(({ state }) => state).toSorted();
      expect(states).toEqual(["acquired", ...Array.from({ length: 19 }, () => "locked")]);
    }
  });

  test("expired rows are deleted by several at once, and nothing that is taken anew meanwhile", async () => {
    const table = "swept";
    await pool.query("DROP TABLE IF EXISTS swept");
    await createIdempotencyTable(pool, { table });
    await pool.query(
      "INSERT INTO swept SELECT 'key-' || n, NULL, clock_timestamp() - interval '1 second' FROM generate_series(1, 5000) n",
    );
    const store = postgresStore(pool, { table });
    const keys = Array.from({ length: 300 }, (_, n) => `key-${n * 16 + 1}`);
    const [taken, ...deleted] = await Promise.all([
      Promise.all(keys.map((key) => store.acquire(key, "new", 60_000))),
      ...Array.from({ length: 4 }, () => deleteExpired(pool, { table, batch: 100 })),
    ]);
    expect(new Set(taken.map(({ state }) => state))).toEqual(new Set(["acquired"]));
    await deleteExpired(pool, { table });
    const { rows } = await pool.query<{ count: string }>("SELECT count(*) FROM swept WHERE owner = 'new'");
    expect(rows).toEqual([{ count: "300" }]);
    expect((await pool.query("SELECT FROM swept WHERE owner IS NULL")).rows).toEqual([]);
    expect(deleted.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(5000);
  });

  test("through the pool: of twenty deliveries at once of each of ten messages one takes effect", async () => {
    const name = randomUUID();
    const messages = topic<number>(name);
    const bus = await connect(memory());
    onTestFinished(() => bus.close());
    const handled = inbox(
      pool,
      async (n: number, { transaction }) => {
        await transaction.query("INSERT INTO pool_effects VALUES ($1, $2)", [name, n]);
      },
      { defer: 20, key: ({ message }: Context) => `${name}/${message.headers["n"]}` },
    );
    const all = Promise.withResolvers<void>();
    let done = 0;
    await bus.subscribe(messages, { group: "worker" }, async (n, context) => {
      const outcome = await handled(n, context);
      if (!outcome && ++done === 200) all.resolve();
      return outcome;
    });
    const numbers = Array.from({ length: 200 }, (_, n) => n % 10);
    await Promise.all(numbers.map((n) => bus.publish(messages, n, { headers: { n: String(n) } })));
    await all.promise;
    expect(await effects(name)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(handled.counters).toMatchObject({ committed: 10, duplicates: 190 });
    expect(pool.idleCount).toBe(pool.totalCount);
  });

  test("a statement that failed and was caught does not count as committed", async () => {
    const name = randomUUID();
    const messages = topic<number>(name);
    const bus = await connect(memory());
    onTestFinished(() => bus.close());
    const handled = inbox(pool, async (n: number, { transaction, message }) => {
      await transaction.query("INSERT INTO pool_effects VALUES ($1, $2)", [name, n]);
      if (message.attempt === 1) await transaction.query("INSERT INTO pool_entries VALUES (1)").catch(() => undefined);
    });
    await bus.subscribe(messages, { group: "worker", retry: { firstDelay: 1 } }, handled);
    const settled = bus.settled(messages);
    await bus.publish(messages, 7);
    expect(await settled).toMatchObject({ fate: "done" });
    expect(await effects(name)).toEqual([7]);
    expect(pool.idleCount).toBe(pool.totalCount);
  });

  test.skipIf(!running?.restart)(
    "a server that goes away in the middle is an outage, or a failed run; one effect",
    async () => {
      const name = randomUUID();
      const messages = topic<number>(name);
      const bus = await connect(memory());
      onTestFinished(() => bus.close());
      const middleware = { attempt: [idempotent(postgresStore(pool), { key: ({ message }) => `own/${message.id}` })] };
      let restarts = 0;
      const handled = inbox(pool, async (n: number, { transaction }) => {
        await transaction.query("INSERT INTO pool_effects VALUES ($1, $2)", [name, n]);
        if (restarts++ === 0) await running?.restart?.();
      });
      await bus.subscribe(messages, { group: "worker", middleware, retry: { firstDelay: 1 } }, handled);
      const settled = Promise.all([1, 2].map((n) => bus.settled(messages, { id: `${n}`, fate: "done" })));
      for (const n of [1, 2]) await bus.publish(messages, n, { id: `${n}` });
      await settled;
      expect(await effects(name)).toEqual([1, 2]);
    },
  );
});
