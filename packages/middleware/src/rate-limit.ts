import { type Context, type DeliveryMiddleware, milliseconds, nodeRuntime, SluiceError } from "@sluice/core";
import type { Duration, Runtime } from "@sluice/core";
import { sleep } from "@sluice/core/driver";
import { checkFunction, checkObject, shown } from "./options.ts";

export interface RateLimitOptions {
  /** Messages that may begin in the time `per`, on average. */
  readonly limit: number;
  readonly per: Duration;
  /** One limit per value, such as per tenant. @default one for all messages */
  readonly key?: (context: Context) => string;
  /** How many may begin at once after a quiet time. @default what is due in 100 ms, at least 1 */
  readonly burst?: number;
  /**
   * Most values of `key`, and most waiting messages, that are remembered. Beyond it the one that was not seen for longest is
   * forgotten, and begins afresh.
   * @default 10000
   */
  readonly keys?: number;
  /** Clock and timers. @default the process's own */
  readonly runtime?: Runtime;
}

/** A message keeps its handler's slot for up to this; a longer wait gives it to others. */
const shortMs = 1000;

/** What a deferral may take without a copy through the broker, by the default of `retry.inPlace`. */
const stepMs = 2000;

/** When a token that nobody came back for is forgotten. */
const forgottenMs = 60_000;

/**
 * Begins at most so many messages per time: a token bucket in this process, shared by all subscriptions to which the same
 * middleware is given. Tokens are handed out in the order in which messages ask. It counts messages, not attempts: a retry
 * within this process costs no token.
 *
 * A wait of up to a second is spent in the handler's slot, and ends when `context.signal` aborts. For a longer one the message is
 * deferred in this process, its token reserved: other keys go on, no attempt is counted, no time limit runs, and a drain gives it
 * back at once. With a `retry.inPlace` below 2 s deferring sends copies through the broker.
 *
 * @throws SluiceError `CONFIG` for a limit, burst or number of keys below 1, or a time of 0
 */
export function rateLimit(options: RateLimitOptions): DeliveryMiddleware {
  checkObject("rateLimit: its argument", options, 'give { limit, per }, such as { limit: 100, per: "1s" }');
  const { limit, per, key = () => "", keys = 10_000, runtime = nodeRuntime } = options;
  checkFunction("rateLimit: key", key);
  const perMs = milliseconds(per, "rateLimit per");
  const everyMs = perMs / limit;
  const { burst = Math.max(1, Math.floor(100 / everyMs)) } = options;
  for (const [name, value] of Object.entries({ limit, per: perMs, burst, keys })) atLeastOne(name, value);
  const buckets = new Buckets(everyMs, burst, keys);
  const reserved = new Reserved(keys);
  return async function rateLimit(context, next) {
    const nowMs = runtime.monotonicMs();
    const message = `${context.group} ${context.message.topic} ${context.message.id}`;
    const atMs = reserved.claim(message) ?? buckets.take(key(context), nowMs);
    const waitMs = atMs - nowMs;
    if (waitMs > shortMs) {
      reserved.keep(message, atMs, nowMs);
      return context.defer(Math.min(waitMs, stepMs), "rate limit");
    }
    if (waitMs > 0) await sleep(runtime, waitMs, context.signal);
    if (waitMs > 0 && context.signal.aborted) throw context.signal.reason;
    return next();
  };
}

/** For each key the time at which its bucket is full again: all that a token bucket has to know. */
class Buckets {
  readonly #everyMs: number;
  readonly #burst: number;
  readonly #most: number;
  /** In the order of their last use. */
  readonly #fullAtMs = new Map<string, number>();

  constructor(everyMs: number, burst: number, most: number) {
    this.#everyMs = everyMs;
    this.#burst = burst;
    this.#most = most;
  }

  /** Takes one token, and says when it is there. */
  take(key: string, nowMs: number): number {
    const fullAtMs = Math.max(this.#fullAtMs.get(key) ?? 0, nowMs) + this.#everyMs;
    this.#fullAtMs.delete(key);
    this.#fullAtMs.set(key, fullAtMs);
    const oldest = this.#fullAtMs.keys().next();
    if (this.#fullAtMs.size > this.#most && !oldest.done) this.#fullAtMs.delete(oldest.value);
    return fullAtMs - this.#burst * this.#everyMs;
  }
}

/** Tokens of messages that were deferred. By id, because a message that went through the broker has another context. */
class Reserved {
  readonly #most: number;
  readonly #atMs = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  claim(message: string): number | undefined {
    const atMs = this.#atMs.get(message);
    this.#atMs.delete(message);
    return atMs;
  }

  keep(message: string, atMs: number, nowMs: number): void {
    this.#atMs.set(message, atMs);
    for (const [oldest, dueMs] of this.#atMs) {
      if (dueMs > nowMs - forgottenMs && this.#atMs.size <= this.#most) break;
      this.#atMs.delete(oldest);
    }
  }
}

function atLeastOne(name: string, value: number): void {
  if (value >= 1 && Number.isFinite(value)) return;
  throw new SluiceError("CONFIG", `rateLimit: ${name} is ${shown(value)}; give a number of at least 1`);
}
