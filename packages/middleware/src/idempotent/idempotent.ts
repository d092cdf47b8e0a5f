import {
  type AttemptMiddleware,
  type Context,
  type Duration,
  milliseconds,
  nodeRuntime,
  type Outcome,
  type Runtime,
  SluiceError,
} from "@sluice/core";
import { checkFunction, checkMethods } from "../options.ts";
import type { IdempotencyStore } from "../stores/store.ts";
import { failureOf, isOutcome, refuseTransactional, reportDuplicate } from "./runs.ts";
import { defaultKey, keyOfHandling } from "./key.ts";
import { asked, Lock } from "./lock.ts";

/** Options of {@link idempotent}. */
export interface IdempotentOptions {
  /** What makes two deliveries to a group the same: a text that is not empty. @default topic and message id */
  readonly key?: (context: Context) => string;
  /** How long the lock of a process that died keeps others away; extended while a handler runs. @default '5m' */
  readonly lock?: Duration;
  /** How long completed messages are remembered: longer than one can come again. @default '7d' */
  readonly ttl?: Duration;
  /** Clock and ids. @default Node's own */
  readonly runtime?: Runtime;
}

/** What {@link idempotent} has seen, since it was made. */
export interface IdempotentCounters {
  /** Runs recorded as completed. */
  readonly completed: number;
  /** Deliveries of completed messages: done without running the handler. */
  readonly duplicates: number;
  /** Deliveries put off because somebody else held the lock. */
  readonly deferred: number;
  /** Runs whose lock was gone when they ended: not recorded, run again. */
  readonly lost: number;
}

/** The middleware, with what it counts. */
export type Idempotent = AttemptMiddleware & { readonly counters: IdempotentCounters };

/** Sooner a message that is locked does not come back, so that the last moments of a lock make no hot loop. */
const shortestDeferMs = 100;

/** One delivered message in this process, over all of its runs. */
interface Handling {
  /** The same in every run: a call whose answer was lost can be made again. */
  readonly owner: string;
  /** The handler ended well, and only the record of it is missing. */
  handled: boolean;
}

/**
 * Runs the handler of a message until one run completes, and no more after that, as far as the store remembers: a lock while it
 * runs, then a record that it is completed. Deliveries of a completed message are done without the handler; those of a message that
 * somebody else holds are deferred until the lock would expire. Only a run that ends as done is recorded: after an error, or
 * any outcome, the lock is given back.
 *
 * Effects can still happen twice: when the process dies, or loses its lock, between the effect and the record. Where the effect is in
 * PostgreSQL, `inbox` closes that gap. Not for broadcasts (without a `key` per instance) and transactional subscriptions.
 *
 * A message for which `key` gives no text, or an empty one, fails its run with `CONFIG`: it is tried again, then dead-lettered.
 *
 * A store that fails is an outage (`UnavailableError`): messages wait, and nothing is counted. A run whose lock is gone when
 * it ends fails with `LEASE_LOST`.
 *
 * It belongs among the `attempt` middleware: there the lock lives exactly as long as the run, also of one that outlives its time
 * limit, and what cannot be decoded never reaches the store.
 *
 * @throws SluiceError `CONFIG` for an illegal option
 */
export function idempotent(store: IdempotencyStore, options: IdempotentOptions = {}): Idempotent {
  const { key: keyOf = defaultKey, lock: lockTime = "5m", ttl = "7d", runtime = nodeRuntime } = options;
  checkStore(store);
  checkFunction("idempotent: key", keyOf);
  const lockMs = positive(lockTime, "lock");
  const ttlMs = positive(ttl, "ttl");
  const counters = { completed: 0, duplicates: 0, deferred: 0, lost: 0 };
  const handlings = new WeakMap<Context, Handling>();

  async function complete(key: string, owner: string): Promise<void> {
    if (await asked("complete", key, () => store.complete(key, owner, ttlMs))) {
      counters.completed++;
      return;
    }
    counters.lost++;
    throw lockLost(key);
  }

  async function run(key: string, handling: Handling, context: Context, next: () => Promise<void | Outcome>) {
    const { signal } = context; // n.b. the next run has another one
    const lock = new Lock(store, { runtime, key, owner: handling.owner, lockMs }, () => context.abort(lockLost(key)));
    let returned: void | Outcome;
    try {
      returned = await next();
      const failure = failureOf(context, signal, returned);
      if (failure !== undefined) throw failure;
    } catch (error) {
      if (lock.lost) counters.lost++;
      await lock.release();
      throw error;
    }
    if (isOutcome(returned)) {
      await lock.release();
      return returned;
    }
    lock.stop();
    handling.handled = true;
    await complete(key, handling.owner);
    return returned;
  }

  async function idempotent(context: Context, next: () => Promise<void | Outcome>): Promise<void | Outcome> {
    refuseTransactional(context, "idempotent");
    const key = keyOfHandling("idempotent", keyOf, context);
    const handling = handlings.get(context) ?? { owner: runtime.id(), handled: false };
    handlings.set(context, handling);
    const acquired = await asked("lock", key, () => store.acquire(key, handling.owner, lockMs));
    if (acquired.state === "locked") {
      counters.deferred++;
      return context.defer(
        Math.max(acquired.forMs, shortestDeferMs),
        "idempotent: another delivery of it is being handled",
      );
    }
    if (acquired.state === "acquired")
      return handling.handled ? complete(key, handling.owner) : run(key, handling, context, next);
    if (handling.handled) return; // our own record, whose answer was lost
    counters.duplicates++;
    reportDuplicate(context);
  }

  return Object.assign(idempotent, { counters });
}

function lockLost(key: string): SluiceError {
  return new SluiceError(
    "LEASE_LOST",
    `idempotent: the lock of "${key}" was lost while its handler ran; it runs again unless another run completes: make lock longer, or do not block the event loop`,
  );
}

function checkStore(store: unknown): void {
  const methods = ["acquire", "renew", "complete", "release"];
  const help = "give memoryStore(), redisStore(client) or postgresStore(pool)";
  checkMethods("idempotent: the store", store, methods, help);
}

function positive(duration: Duration, option: string): number {
  const ms = milliseconds(duration, `${option} of idempotent`);
  if (ms >= 1) return ms;
  throw new SluiceError("CONFIG", `idempotent: ${option} is ${JSON.stringify(duration)}; give a millisecond or more`);
}
