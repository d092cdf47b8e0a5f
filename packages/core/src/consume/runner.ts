import type { Context } from "../context.ts";
import { SluiceError } from "../errors.ts";
import type { Outcome } from "../outcome.ts";
import type { RunResult } from "./fate.ts";
import { type ContextHost, HandlerContext } from "./handler-context.ts";
import type { Work } from "./work.ts";

/** A handler as the engine calls it. Synchronous handlers cost no promise. */
export type Run = (payload: unknown, context: Context) => unknown;

export interface RunnerOptions {
  readonly host: ContextHost;
  /** Bytes to payload; throws what the fates call `invalid`. */
  readonly decode: (work: Work, context: HandlerContext) => unknown;
  readonly run: Run;
  /** Delivery middleware, composed; `undefined` when there is none. */
  readonly delivery: ((context: Context, next: () => Promise<void | Outcome>) => Promise<void | Outcome>) | undefined;
  /** One run ended, in whatever way. */
  ended(work: Work, result: RunResult): void;
  /** The delivery middleware ended: its word is final. */
  unwrapped(work: Work, result: RunResult): void;
}

/** Runs the handler for a message once: decode, middleware, handler, result. Nothing that user code does escapes. */
export class Runner {
  readonly #options: RunnerOptions;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  start(work: Work): void {
    const context = (work.context ??= new HandlerContext(work, this.#options.host));
    context.begin();
    if (this.#options.delivery && !work.unwrap) this.#wrap(work, context, this.#options.delivery);
    else this.#attempt(work, context);
  }

  #wrap(work: Work, context: HandlerContext, delivery: NonNullable<RunnerOptions["delivery"]>): void {
    const next = () =>
      new Promise<void | Outcome>((resolve, reject) => {
        // The message left while the middleware waited: its handler must not start any more.
        if (work.state !== "running" || work.lost || work.overdue) return reject(tooLate(work, context));
        work.unwrap = (result) => (result.ok ? resolve(result.value as void | Outcome) : reject(result.error));
        this.#attempt(work, context);
      });
    const finish = (result: RunResult) => {
      const reached = work.unwrap !== undefined;
      work.unwrap = undefined;
      // A middleware that never called next() ends the run itself.
      if (reached) this.#options.unwrapped(work, result);
      else this.#options.ended(work, result);
    };
    invoke(() => delivery(context, next), finish);
  }

  #attempt(work: Work, context: HandlerContext): void {
    const { run, decode } = this.#options;
    const end = (result: RunResult) => this.#options.ended(work, checked(context, result));
    let payload: unknown;
    try {
      payload = decode(work, context);
    } catch (error) {
      return end({ ok: false, error });
    }
    const late = (decoded: unknown) => {
      if (work.lost || work.overdue) throw tooLate(work, context);
      return run(decoded, context);
    };
    if (payload instanceof Promise) invoke(() => payload.then(late), end);
    else invoke(() => run(payload, context), end);
  }
}

function tooLate(work: Work, context: HandlerContext): unknown {
  if (context.signal.aborted) return context.signal.reason;
  return new SluiceError(
    "LEASE_LOST",
    `sluice: message ${work.id} of topic "${work.topic.name}" has left; next() came too late`,
  );
}

/** An outcome that was made and not returned fails the run. */
function checked(context: HandlerContext, result: RunResult): RunResult {
  if (!result.ok || context.made === undefined) return result;
  const error = context.unused(result.value);
  return error ? { ok: false, error } : result;
}

function invoke(call: () => unknown, end: (result: RunResult) => void): void {
  let returned: unknown;
  try {
    returned = call();
    // n.b. A foreign thenable may throw, or answer twice: a promise of our own does neither.
    if (isThenable(returned)) returned = Promise.resolve(returned);
  } catch (error) {
    return end({ ok: false, error });
  }
  if (returned instanceof Promise) {
    returned.then(
      (value) => end({ ok: true, value }),
      (error: unknown) => end({ ok: false, error }),
    );
  } else end({ ok: true, value: returned });
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
