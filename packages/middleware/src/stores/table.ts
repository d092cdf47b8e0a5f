import { SluiceError } from "@sluice/core";

/** Runs one statement: a pool, a client or a transaction of `pg`, or PGlite. */
export interface SqlQueries {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>;
}

/** Which table. */
export interface TableOptions {
  /** Name, or schema and name; lower-case letters, digits and `_`. @default "sluice_idempotency" */
  readonly table?: string;
}

/** Options of {@link deleteExpired}. */
export interface DeleteExpiredOptions extends TableOptions {
  /** Rows per statement. @default 1000 */
  readonly batch?: number;
  /** Ends it between two statements. */
  readonly signal?: AbortSignal;
}

/**
 * The table's name as SQL, checked and quoted.
 * @throws SluiceError `CONFIG` for an illegal name
 */
export function quotedTable({ table = "sluice_idempotency" }: TableOptions): string {
  if (/^[a-z_][a-z0-9_]{0,62}(?:\.[a-z_][a-z0-9_]{0,62})?$/.test(table)) {
    return table
      .split(".")
      .map((part) => `"${part}"`)
      .join(".");
  }
  throw new SluiceError(
    "CONFIG",
    `idempotency: table name ${JSON.stringify(table)} is not legal; use lower-case letters, digits and "_", with a schema before a dot if you like`,
  );
}

/**
 * The statements that make the table for `postgresStore` and `inbox`: for your own migrations.
 * @throws SluiceError `CONFIG` for an illegal name
 */
export function idempotencyTableSql(options: TableOptions = {}): string {
  const table = quotedTable(options);
  return `CREATE TABLE IF NOT EXISTS ${table} (
  key text PRIMARY KEY,
  owner text, -- holder of the lock; NULL: completed
  expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS ${indexName(options)} ON ${table} (expires_at);`;
}

function indexName({ table = "sluice_idempotency" }: TableOptions): string {
  const name = table.split(".").at(-1) ?? table;
  // n.b. PostgreSQL cuts names at 63 characters, and would cut off what makes it another name than the table's.
  return `"${name.slice(0, 52)}_expires_at"`;
}

/**
 * Makes the table and its index where they do not exist.
 * @throws SluiceError `CONFIG` for an illegal name; whatever the database says
 */
export async function createIdempotencyTable(database: SqlQueries, options: TableOptions = {}): Promise<void> {
  for (const statement of idempotencyTableSql(options).split(";\n")) await database.query(statement);
}

/**
 * Deletes expired rows, some at a time so that nobody waits for it long; several may run at once. Call it now and then: expired rows
 * take room, and nothing else. Resolves with how many there were.
 *
 * @throws SluiceError `CONFIG` for an illegal option; whatever the database says
 */
export async function deleteExpired(database: SqlQueries, options: DeleteExpiredOptions = {}): Promise<number> {
  const { batch = 1000, signal } = options;
  const table = quotedTable(options);
  if (!Number.isInteger(batch) || batch < 1) {
    throw new SluiceError("CONFIG", `deleteExpired: batch is ${batch}; give a whole number from 1`);
  }
  // A row that is taken anew meanwhile is passed over: it is locked, or looked at again once this statement has it locked.
  const statement = `DELETE FROM ${table} WHERE key = ANY (ARRAY (
  SELECT key FROM ${table} WHERE expires_at <= clock_timestamp() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING 1`;
  for (let total = 0; ;) {
    const { rows } = await database.query(statement, [batch]);
    total += rows.length;
    if (rows.length < batch || signal?.aborted) return total;
  }
}
