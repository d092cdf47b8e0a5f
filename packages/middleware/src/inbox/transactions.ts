import { checkMethods } from "../options.ts";
import type { SqlQueries } from "../stores/table.ts";

/** Whatever runs a function in one transaction: commits when it resolves, rolls back when it rejects. PGlite has it. */
export interface Transactions<Transaction> {
  transaction<Result>(work: (transaction: Transaction) => Promise<Result>): Promise<Result>;
}

/** A connection out of a pool. */
export interface PooledClient extends SqlQueries {
  release(broken?: Error | boolean): void;
  on?(event: "error", listener: (error: Error) => void): unknown;
  removeListener?(event: "error", listener: (error: Error) => void): unknown;
}

/** A pool of connections: `pg` has it. */
export interface ClientPool<Client> {
  connect(): Promise<Client>;
  // Types are inferred from overloads one by one, and `pg` has this one, too.
  connect(callback: (error: Error | undefined, client: Client | undefined, done: () => void) => void): void;
}

/** How a transaction of either kind is run. */
export interface Runner<Transaction> {
  /** Rejects also where the database rolled back instead of committing, if it can tell. */
  readonly tellsRollback: boolean;
  run<Result>(work: (transaction: Transaction) => Promise<Result>): Promise<Result>;
}

/**
 * One way for both.
 * @throws SluiceError `CONFIG` for what is neither
 */
export function runnerOf<Transaction extends SqlQueries>(
  database: ClientPool<Transaction & PooledClient> | Transactions<Transaction>,
): Runner<Transaction> {
  const given: unknown = database;
  const own = typeof given === "object" && given !== null && "transaction" in given;
  checkMethods(
    "inbox: the database",
    given,
    [own ? "transaction" : "connect"],
    "give a Pool of pg, PGlite, or what has transaction(work)",
  );
  if ("transaction" in database) return { tellsRollback: false, run: (work) => database.transaction(work) };
  return { tellsRollback: true, run: (work) => inClient(database, work) };
}

async function inClient<Client extends PooledClient, Result>(
  pool: ClientPool<Client>,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect();
  // n.b. a connection that ends while nothing is asked of it would end the process: nobody else listens. The next query rejects.
  client.on?.("error", ignore);
  let broken = true;
  try {
    await client.query("BEGIN");
    const result = await work(client);
    const ended = await client.query("COMMIT");
    broken = false;
    // n.b. after a failed statement COMMIT rolls back, and is no error.
    if ("command" in ended && ended.command === "ROLLBACK") throw new RolledBackError();
    return result;
  } catch (error) {
    if (broken) broken = await client.query("ROLLBACK").then(isFalse, isTrue);
    throw error;
  } finally {
    client.removeListener?.("error", ignore);
    client.release(broken);
  }
}

const ignore = (): void => {};
const isTrue = (): boolean => true;
const isFalse = (): boolean => false;

/** The handler went on after a statement of its own had failed: the database commits nothing then, and may not even say so. */
export class RolledBackError extends Error {
  override readonly name: string = "RolledBackError";

  constructor(options?: ErrorOptions) {
    super(
      "inbox: a statement of the handler failed, so nothing could be committed; let its error leave the handler",
      options,
    );
  }
}

/** @throws RolledBackError where a commit would roll back: the transaction takes no statement any more */
export async function checkUnbroken(transaction: SqlQueries): Promise<void> {
  await transaction.query("SELECT 1").catch((cause: unknown) => {
    throw new RolledBackError({ cause });
  });
}
