import type { Runtime } from "../driver/index.ts";
import { SluiceError } from "../errors.ts";
import type { Work } from "./work.ts";

/** What the watch needs of an engine. */
export interface Watched {
  readonly running: ReadonlySet<Work>;
  expire(work: Work): void;
  giveUpOn(work: Work): void;
}

/**
 * Finds runs that exceed their time limit: one timer per subscription, because all its runs have the same limit and the set of
 * running ones is in the order in which they started.
 */
export class TimeLimits {
  readonly #runtime: Runtime;
  readonly #engine: Watched;
  readonly #timeoutMs: number;
  #cancel: (() => void) | undefined;

  constructor(runtime: Runtime, engine: Watched, timeoutMs: number) {
    this.#runtime = runtime;
    this.#engine = engine;
    this.#timeoutMs = timeoutMs;
    if (timeoutMs > 0) this.#schedule();
  }

  #schedule(): void {
    // Often enough that a limit is kept within a tenth, seldom enough to cost nothing.
    const everyMs = Math.min(1000, Math.max(10, this.#timeoutMs / 10));
    this.#cancel = this.#runtime.timer(everyMs, () => this.#look(), { background: true });
  }

  #look(): void {
    const now = this.#runtime.monotonicMs();
    for (const work of this.#engine.running) {
      const ran = now - work.startedMs;
      if (ran < this.#timeoutMs) break;
      if (!work.overdue) this.#engine.expire(work);
      else if (ran >= 2 * this.#timeoutMs) this.#engine.giveUpOn(work);
    }
    this.#schedule();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}

/** The error of a run that exceeded its time limit: its signal's reason, and the reason of the retry. */
export function timeLimit(work: Work, timeoutMs: number): SluiceError {
  return new SluiceError(
    "HANDLER_TIMEOUT",
    `sluice: the handler of topic "${work.topic.name}" ran longer than ${timeoutMs} ms for message ${work.id}; ` +
      `raise the subscription's timeout, or end the work when context.signal aborts`,
  );
}
