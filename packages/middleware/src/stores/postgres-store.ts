import { checkMethods } from "../options.ts";
import type { Acquired, IdempotencyStore } from "./store.ts";
import { quotedTable, type SqlQueries, type TableOptions } from "./table.ts";

/** Options of {@link postgresStore}. */
export type PostgresStoreOptions = TableOptions;

interface Found {
  readonly taken: boolean;
  readonly completed: boolean | null;
  readonly ms: number | string | null;
}

/**
 * Keeps locks and completed keys in a table of PostgreSQL, made by `createIdempotencyTable`; call `deleteExpired` now and then.
 * Statements run on their own, outside of any transaction: where the effect is in the same database, `inbox` promises more.
 *
 * @param pool `pg`'s pool, or PGlite
 * @throws SluiceError `CONFIG` for an illegal table name, and for what is no pool
 */
export function postgresStore(pool: SqlQueries, options: PostgresStoreOptions = {}): IdempotencyStore {
  const table = quotedTable(options);
  checkMethods("postgresStore: the pool", pool, ["query"], "give a Pool of pg, or PGlite");
  const until = (parameter: string) => `clock_timestamp() + ${parameter}::float8 * interval '1 millisecond'`;
  const mine = "key = $1 AND owner = $2 AND expires_at > clock_timestamp()";
  // n.b. the row that was in the way may be younger than the statement's view of the table: what is seen below is then one that has
  // expired, or none, and stands for a lock of which nobody knows how long it lives.
  const acquire = `WITH taken AS (
  INSERT INTO ${table} AS held (key, owner, expires_at) VALUES ($1, $2, ${until("$3")})
  ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
  WHERE held.expires_at <= clock_timestamp() OR held.owner = excluded.owner
  RETURNING 1)
SELECT EXISTS (SELECT 1 FROM taken) AS taken,
  (SELECT owner IS NULL AND expires_at > clock_timestamp() FROM ${table} WHERE key = $1) AS completed,
  (SELECT extract(epoch FROM expires_at - clock_timestamp()) * 1000 FROM ${table} WHERE key = $1) AS ms`;
  const renew = `UPDATE ${table} SET expires_at = ${until("$3")} WHERE ${mine} RETURNING 1`;
  const complete = `UPDATE ${table} SET owner = NULL, expires_at = ${until("$3")} WHERE ${mine} RETURNING 1`;
  const release = `DELETE FROM ${table} WHERE key = $1 AND owner = $2`;
  const changed = async (text: string, values: unknown[]): Promise<boolean> =>
    (await pool.query(text, values)).rows.length > 0;
  return {
    async acquire(key, owner, lockMs): Promise<Acquired> {
      const { rows } = await pool.query(acquire, [key, owner, lockMs]);
      const { taken, completed, ms } = rows[0] as Found; // a SELECT without FROM has one row
      if (taken) return { state: "acquired" };
      return completed ? { state: "completed" } : { state: "locked", forMs: Math.max(0, Math.ceil(Number(ms))) };
    },
    renew: (key, owner, lockMs) => changed(renew, [key, owner, lockMs]),
    complete: (key, owner, ttlMs) => changed(complete, [key, owner, ttlMs]),
    release: async (key, owner) => void (await pool.query(release, [key, owner])),
  };
}
