import {
  type Capabilities,
  type Context,
  type Duration,
  type Handler,
  milliseconds,
  type Outcome,
  SluiceError,
  UnavailableError,
} from "@sluice/core";
import { failureOf, isOutcome, refuseTransactional, reportDuplicate } from "../idempotent/runs.ts";
import { defaultKey, keyOfHandling } from "../idempotent/key.ts";
import { checkFunction } from "../options.ts";
import { quotedTable, type SqlQueries, type TableOptions } from "../stores/table.ts";
import {
  checkUnbroken,
  type ClientPool,
  type PooledClient,
  RolledBackError,
  type Runner,
  runnerOf,
  type Transactions,
} from "./transactions.ts";

/** Options of {@link inbox}. */
export interface InboxOptions extends TableOptions {
  /** What makes two deliveries to a group the same: a text that is not empty. @default topic and message id */
  readonly key?: (context: Context) => string;
  /** How long handled messages are remembered: longer than one can come again. @default '7d' */
  readonly ttl?: Duration;
  /** When a message comes back that somebody else is handling right now. @default '1s' */
  readonly defer?: Duration;
}

/** The handler's context: everything it does with `transaction` is committed together with the mark that the message is handled. */
export type InboxContext<Transaction, C extends Capabilities = Capabilities, NativeMessage = unknown> = Context<
  C,
  NativeMessage
> & { readonly transaction: Transaction };

/** What {@link inbox} has seen, since it was made. */
export interface InboxCounters {
  /** Committed runs. */
  readonly committed: number;
  /** Deliveries of handled messages: done without running the handler. */
  readonly duplicates: number;
  /** Deliveries put off because another one was being handled. */
  readonly deferred: number;
}

interface Plan {
  readonly mark: string;
  readonly keyOf: (context: Context) => string;
  readonly ttlMs: number;
  readonly deferMs: number;
  readonly counters: { -readonly [Name in keyof InboxCounters]: number };
}

/**
 * A handler whose effects in PostgreSQL happen once for each message, however often it is delivered and whatever dies: it runs in a
 * transaction in which the message's id is stored, too, and both are committed together. A message whose id is there already is
 * done without the handler. Every end but done rolls back: an error, an outcome, the time limit, a lost lease.
 *
 * What the handler does elsewhere, `context.publish` included, is not part of the transaction. The table is made by
 * `createIdempotencyTable`. Not for broadcasts without a `key` per instance, and not for batch handlers. A message for which `key`
 * gives no text, or an empty one, fails its run with `CONFIG`.
 *
 * A database that is away is an outage (`UnavailableError`); an error of the handler's own statements is the handler's.
 *
 * @param database `pg`'s pool, PGlite, or whatever has `transaction(work)`
 * @throws SluiceError `CONFIG` for an illegal option
 */
export function inbox<
  Payload,
  Transaction extends SqlQueries,
  C extends Capabilities = Capabilities,
  NativeMessage = unknown,
>(
  database: ClientPool<Transaction & PooledClient> | Transactions<Transaction>,
  handler: (
    payload: Payload,
    context: InboxContext<Transaction, C, NativeMessage>,
  ) => void | Outcome | Promise<void | Outcome>,
  options: InboxOptions = {},
): Handler<Payload, C, NativeMessage> & { readonly counters: InboxCounters } {
  const runner = runnerOf(database);
  if (typeof handler !== "function")
    throw new SluiceError("CONFIG", "inbox: there is no handler; give a function of payload and context");
  const plan = planOf(options);
  const inbox: Handler<Payload, C, NativeMessage> = (payload, context) =>
    handle(runner, plan, context as Context, (transaction) =>
      handler(payload, Object.assign(context, { transaction })),
    );
  return Object.assign(inbox, { counters: plan.counters });
}

function planOf(options: InboxOptions): Plan {
  const { key = defaultKey, ttl = "7d", defer = "1s" } = options;
  checkFunction("inbox: key", key);
  const ttlMs = milliseconds(ttl, "ttl of inbox");
  if (ttlMs < 1) throw new SluiceError("CONFIG", `inbox: ttl is ${JSON.stringify(ttl)}; give a millisecond or more`);
  const counters = { committed: 0, duplicates: 0, deferred: 0 };
  return { mark: markOf(options), keyOf: key, ttlMs, deferMs: milliseconds(defer, "defer of inbox"), counters };
}

/**
 * One statement that says whether nobody else handles the message now, and whether it was never handled. The lock ends with the
 * transaction, or with its connection; without it the insert would wait for the other transaction, and hold a connection.
 * What `postgresStore` left under the key as a lock is replaced.
 */
function markOf(options: TableOptions): string {
  const until = "clock_timestamp() + $2::float8 * interval '1 millisecond'";
  return `WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS mine),
mark AS (
  INSERT INTO ${quotedTable(options)} AS held (key, owner, expires_at) SELECT $1, NULL, ${until} FROM turn WHERE mine
  ON CONFLICT (key) DO UPDATE SET owner = NULL, expires_at = excluded.expires_at
  WHERE held.expires_at <= clock_timestamp() OR held.owner IS NOT NULL
  RETURNING 1)
SELECT mine, EXISTS (SELECT 1 FROM mark) AS fresh FROM turn`;
}

/** How far a transaction came: says whose fault an error is. */
interface Progress {
  stage: "before" | "handler" | "after";
  /** Given instead of a commit. */
  answer?: { readonly value: void | Outcome };
}

async function handle<Transaction extends SqlQueries>(
  runner: Runner<Transaction>,
  plan: Plan,
  context: Context,
  run: (transaction: Transaction) => void | Outcome | Promise<void | Outcome>,
): Promise<void | Outcome> {
  refuseTransactional(context, "inbox");
  const { signal } = context; // n.b. the next run has another one
  const key = keyOfHandling("inbox", plan.keyOf, context);
  const progress: Progress = { stage: "before" };
  // What is not to be committed leaves the transaction as an error.
  const rollBack = (value: void | Outcome): never => {
    progress.answer = { value };
    throw new Error("inbox: nothing to commit");
  };
  try {
    await runner.run(async (transaction) => {
      const { rows } = await transaction.query(plan.mark, [key, plan.ttlMs]);
      const { mine, fresh } = rows[0] as { readonly mine: boolean; readonly fresh: boolean }; // `turn` has one row
      if (!mine) return rollBack(later(plan, context));
      if (!fresh) return rollBack(duplicate(plan, context));
      progress.stage = "handler";
      const returned = await run(transaction);
      const failure = failureOf(context, signal, returned);
      if (failure !== undefined) throw failure;
      if (isOutcome(returned)) return rollBack(returned);
      if (!runner.tellsRollback) await checkUnbroken(transaction);
      progress.stage = "after";
    });
  } catch (error) {
    if (progress.answer) return progress.answer.value;
    throw blamed(progress, key, error);
  }
  plan.counters.committed++;
}

function later({ counters, deferMs }: Plan, context: Context): Outcome {
  counters.deferred++;
  return context.defer(deferMs, "inbox: another delivery of it is being handled");
}

function duplicate({ counters }: Plan, context: Context): void {
  counters.duplicates++;
  reportDuplicate(context);
}

/** Connection, resources, operator, system: nothing that the message could have caused. */
const outages = /^(?:08|53|57|58|XX)/;

/** Errors of the handler are its own; those around it are outages, but for what the message itself may have caused. */
function blamed({ stage }: Progress, key: string, error: unknown): unknown {
  if (stage === "handler" || error instanceof RolledBackError) return error;
  const state = sqlState(error);
  // A conflict of serializable transactions; a constraint that is checked at the end.
  if (state !== undefined && (stage === "before" ? state.startsWith("40") : !outages.test(state))) return error;
  const what = stage === "before" ? "mark" : "commit";
  const text = `inbox: the database could not ${what} "${key}"; messages wait until it can: see cause`;
  return new UnavailableError(text, { cause: error });
}

function sqlState(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" && /^[0-9A-Z]{5}$/.test(error.code) ? error.code : undefined;
}
