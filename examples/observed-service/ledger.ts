// The database: PostgreSQL inside of the process. In a service: `new Pool()` of pg.
import { PGlite } from "@electric-sql/pglite";
import { createIdempotencyTable } from "@sluice/middleware";

export type Ledger = PGlite;

export async function openLedger(): Promise<Ledger> {
  const database = await PGlite.create();
  await createIdempotencyTable(database);
  await database.query("CREATE TABLE ledger (order_id text, cents integer)");
  return database;
}

export async function bookedFor(ledger: Ledger, order: string): Promise<readonly number[]> {
  const { rows } = await ledger.query<{ cents: number }>("SELECT cents FROM ledger WHERE order_id = $1", [order]);
  return rows.map(({ cents }) => cents);
}
