// Everything that is kept in PostgreSQL, on the one that runs inside of this process.
import { PGlite, type Transaction } from "@electric-sql/pglite";
import { randomUUID } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import {
  type Bus,
  connect,
  type Context,
  type GroupOptions,
  PermanentError,
  type Settled,
  type SettledMatch,
  topic as declare,
  UnavailableError,
} from "@sluice/core";
import { memory, MemoryBroker } from "@sluice/memory";
import type { Pool, PoolClient } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, it, onTestFinished } from "vitest";
import {
  createIdempotencyTable,
  deleteExpired,
  idempotencyTableSql,
  inbox,
  type InboxContext,
  postgresStore,
  type SqlQueries,
  type Transactions,
} from "../src/index.ts";
import { storeCases } from "../src/stores/cases.ts";

const Payments = declare<number>("payments");
const group = "ledger";
const id = "p-1";

let database: PGlite;
let bus: Bus;

beforeAll(async () => {
  database = await PGlite.create();
  await createIdempotencyTable(database);
  await createIdempotencyTable(database); // again: nothing happens
  await database.exec(`CREATE TABLE effects (amount int);
CREATE TABLE accounts (id int PRIMARY KEY);
CREATE TABLE entries (account int REFERENCES accounts DEFERRABLE INITIALLY DEFERRED)`);
}, 60_000);
afterAll(() => database.close());

beforeEach(async () => {
  await database.exec("TRUNCATE effects, sluice_idempotency");
  bus = await connect(memory({ broker: new MemoryBroker() }));
  onTestFinished(() => bus.close());
});

type Handle = (
  amount: number,
  context: InboxContext<Transaction>,
) => Promise<void | ReturnType<InboxContext<Transaction>["drop"]>>;

const pay: Handle = async (amount, { transaction }) => {
  await transaction.query("INSERT INTO effects VALUES ($1)", [amount]);
};

async function listen(
  handler: Handle,
  over: Transactions<Transaction> = database,
  options: Partial<GroupOptions> = {},
) {
  const handled = inbox(over, handler);
  await bus.subscribe(Payments, { group, retry: { firstDelay: 1 }, ...options } as GroupOptions, handled);
  return handled;
}

async function deliver(amount = 5, match: SettledMatch = {}): Promise<Settled> {
  const settled = bus.settled(Payments, match);
  await bus.publish(Payments, amount, { id });
  return settled;
}

const effects = async () =>
  (await database.query<{ amount: number }>("SELECT amount FROM effects")).rows.map(({ amount }) => amount);
const marks = async () => (await database.query("SELECT key FROM sluice_idempotency WHERE owner IS NULL")).rows;

describe("inbox", () => {
  it("commits effect and mark together, once", async () => {
    const seen: unknown[] = [];
    const hear = (event: unknown) => void seen.push(event);
    subscribe("sluice:duplicate", hear);
    onTestFinished(() => void unsubscribe("sluice:duplicate", hear));
    const handled = await listen(pay);
    for (let n = 0; n < 3; n++) expect(await deliver()).toMatchObject({ fate: "done" });
    expect(await effects()).toEqual([5]);
    expect(await marks()).toEqual([{ key: "ledger/payments/p-1" }]);
    expect(handled.counters).toEqual({ committed: 1, duplicates: 2, deferred: 0 });
    expect(seen).toMatchObject([{ id }, { id }]);
  });

  it("gives a transaction that sees only what is in it", async () => {
    let inside: number | undefined;
    await listen(async (amount, context) => {
      await pay(amount, context);
      inside = (await context.transaction.query("SELECT FROM effects")).rows.length;
      if (context.message.attempt === 1) throw new Error("after the effect");
    });
    expect(await deliver()).toMatchObject({ fate: "done" });
    expect(inside).toBe(1);
    expect(await effects()).toEqual([5]);
  });

  it("rolls back with every outcome but done", async () => {
    await listen(async (amount, context) => {
      await pay(amount, context);
      return context.drop("not wanted");
    });
    expect(await deliver()).toMatchObject({ fate: "drop", reason: "not wanted" });
    expect(await effects()).toEqual([]);
    expect(await marks()).toEqual([]);
  });

  it("rolls back a run whose outcome was made and not returned", async () => {
    await listen(
      async (amount, context) => {
        await pay(amount, context);
        context.drop("forgotten");
      },
      database,
      { retry: { attempts: 1 } },
    );
    expect(await deliver()).toMatchObject({ fate: "dead-letter", reason: "exhausted" });
    expect(await effects()).toEqual([]);
  });

  it("rolls back a run that ends after its time limit", async () => {
    const handled = await listen(
      async (amount, context) => {
        await pay(amount, context);
        if (context.message.attempt > 1) return;
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      },
      database,
      { timeout: 100 },
    );
    expect(await deliver(5, { fate: "done" })).toMatchObject({ fate: "done" });
    expect(await effects()).toEqual([5]);
    expect(handled.counters).toMatchObject({ committed: 1, duplicates: 0 });
  });

  it("does not take a transaction for committed in which a statement failed", async () => {
    // As most libraries do it: nobody looks at what became of the COMMIT.
    const plain: Transactions<PGlite> = {
      async transaction(work) {
        await database.query("BEGIN");
        const result = await work(database).catch(async (error: unknown) => {
          await database.query("ROLLBACK");
          throw error;
        });
        await database.query("COMMIT");
        return result;
      },
    };
    const runs: number[] = [];
    const handled = inbox(plain, async (amount: number, { transaction, message }) => {
      runs.push(message.attempt);
      await transaction.query("INSERT INTO effects VALUES ($1)", [amount]);
      if (message.attempt === 1) await transaction.query("SELECT 1/0").catch(() => undefined);
    });
    await bus.subscribe(Payments, { group, retry: { firstDelay: 1 } }, handled);
    expect(await deliver()).toMatchObject({ fate: "done" });
    expect(runs).toEqual([1, 2]);
    expect(await effects()).toEqual([5]);
    expect(handled.counters).toEqual({ committed: 1, duplicates: 0, deferred: 0 });
  });

  it("holds the message when a constraint fails at the commit to its attempts, and to no outage", async () => {
    await listen(
      async (amount, { transaction }) => {
        await transaction.query("INSERT INTO entries VALUES ($1)", [amount]);
      },
      database,
      { retry: { attempts: 2, firstDelay: 1 } },
    );
    expect(await deliver()).toMatchObject({ fate: "dead-letter", reason: "exhausted" });
    expect(await marks()).toEqual([]);
  });

  it("handles what is put back from the dead letters", async () => {
    let broken = true;
    await listen(async (amount, context) => {
      await pay(amount, context);
      if (broken) throw new PermanentError("broken");
    });
    await deliver();
    broken = false;
    const settled = bus.settled(Payments);
    await bus.deadLetters(Payments, { group }).redrive();
    expect(await settled).toMatchObject({ fate: "done" });
    expect(await effects()).toEqual([5]);
  });

  it("replaces what has expired, and a lock that a store left", async () => {
    const key = "ledger/payments/p-1";
    await database.query("INSERT INTO sluice_idempotency VALUES ($1, NULL, clock_timestamp() - interval '1 second')", [
      key,
    ]);
    await listen(pay);
    await deliver();
    expect(await effects()).toEqual([5]);
    await database.query("DELETE FROM sluice_idempotency");
    await postgresStore(database).acquire(key, "somebody", 60_000);
    await deliver();
    expect(await effects()).toEqual([5, 5]);
    expect(await marks()).toEqual([{ key }]);
  });

  it("takes keys of any letters", async () => {
    const odd = ["a\u0000b", "'); DROP TABLE effects; --", "x".repeat(3000), "broken \uD800", "broken \uD801"];
    const key = ({ message }: Context) => odd[Number(message.id)] ?? "";
    await bus.subscribe(Payments, { group }, inbox(database, pay, { key }));
    for (const round of [0, 1]) {
      for (const n of odd.keys()) {
        const settled = bus.settled(Payments);
        await bus.publish(Payments, round, { id: String(n) });
        expect(await settled).toMatchObject({ fate: "done" });
      }
    }
    expect(await effects()).toEqual([0, 0, 0, 0, 0]);
  });

  it("knows the types of what it is given", () => {
    const ofPool = (pool: Pool) =>
      inbox(pool, (_payload: number, { transaction }) => {
        expectTypeOf(transaction).toExtend<PoolClient>();
      });
    const ofPglite = () =>
      inbox(database, (_payload: number, { transaction }) => {
        expectTypeOf(transaction).toEqualTypeOf<Transaction>();
      });
    expect([ofPool, ofPglite]).toHaveLength(2);
    expectTypeOf<Pool>().toExtend<SqlQueries>();
  });

  it("refuses illegal options", () => {
    expect(() => inbox(database, pay, { ttl: 0 })).toThrow("inbox: ttl is 0");
    expect(() => inbox(database, pay, { defer: "soon" as "1s" })).toThrow("defer of inbox");
    expect(() => inbox(database, pay, { table: "a;b" })).toThrow("is not legal");
  });
});

/** A database whose next calls fail at one point. */
function failing(at: "before" | "commit", how: () => Error, times: number): Transactions<Transaction> {
  return {
    async transaction(work) {
      if (at === "before" && times-- > 0) throw how();
      const result = await database.transaction(work);
      if (at === "commit" && times-- > 0) throw how(); // it did commit
      return result;
    },
  };
}

describe("inbox with a database that fails", () => {
  const refused = () => new Error("connection refused");

  it.for(["before", "commit"] as const)("is an outage, and one effect: %s", async (at) => {
    const attempts: number[] = [];
    const handled = await listen(
      async (amount, context) => {
        attempts.push(context.message.attempt);
        await pay(amount, context);
      },
      failing(at, refused, 1),
    );
    expect(await deliver()).toMatchObject({ fate: "done" });
    expect(attempts).toEqual([1]);
    expect(await effects()).toEqual([5]);
    expect(handled.counters.duplicates).toBe(at === "commit" ? 1 : 0);
  });

  it("says what is down", async () => {
    const handled = inbox(failing("before", refused, 1), pay);
    const errors: unknown[] = [];
    await bus.subscribe(Payments, { group }, async (amount, context) => {
      try {
        return await handled(amount, context);
      } catch (error) {
        errors.push(error);
        throw error;
      }
    });
    await deliver();
    expect(errors).toEqual([expect.any(UnavailableError)]);
    expect(errors[0]).toMatchObject({
      message: expect.stringContaining('could not mark "ledger/payments/p-1"'),
      cause: refused(),
    });
  });
});

describe("postgresStore", () => {
  it.for(storeCases)("$name", async ({ run }) => {
    await expect(run({ store: postgresStore(database), wait, newKey: randomUUID })).resolves.toBeUndefined();
  });

  it("deletes expired rows in batches, and no others", async () => {
    const table = "cleaned";
    await createIdempotencyTable(database, { table });
    await database.query(
      `INSERT INTO cleaned SELECT 'old-' || n, NULL, clock_timestamp() - interval '1 second' FROM generate_series(1, 25) n`,
    );
    await database.query(`INSERT INTO cleaned VALUES ('new', 'a', clock_timestamp() + interval '1 hour')`);
    expect(await deleteExpired(database, { table, batch: 10 })).toBe(25);
    expect((await database.query("SELECT key FROM cleaned")).rows).toEqual([{ key: "new" }]);
    expect(await deleteExpired(database, { table, batch: 1, signal: AbortSignal.abort() })).toBe(0);
    await expect(deleteExpired(database, { table, batch: 0 })).rejects.toThrow("batch is 0");
  });

  it("takes a table in a schema, and only names that need no escaping", async () => {
    await database.query("CREATE SCHEMA own");
    const table = "own.inbox";
    await createIdempotencyTable(database, { table });
    expect(await postgresStore(database, { table }).acquire("key", "a", 1000)).toEqual({ state: "acquired" });
    for (const illegal of ['x"; DROP TABLE y', "a.b.c", "Upper", "", "1a", "a".repeat(64)]) {
      expect(() => postgresStore(database, { table: illegal })).toThrow("is not legal");
      expect(() => idempotencyTableSql({ table: illegal })).toThrow("is not legal");
    }
    expect(readFileSync(new URL("../../../docs/idempotency.md", import.meta.url), "utf8")).toContain(
      idempotencyTableSql(),
    );
    expect(idempotencyTableSql({ table: "a".repeat(63) })).toContain(`"${"a".repeat(52)}_expires_at"`);
  });
});
