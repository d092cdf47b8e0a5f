import { Backoff } from "../backoff.ts";
import type { Runtime } from "../driver/index.ts";
import { isSluiceError } from "../errors.ts";

/** Makes sure that the topic exists on the broker; `undefined` once it does. `delayed`: it needs its waiting place. */
export type Prepare = (delayed: boolean) => Promise<void> | undefined;

/** One preparation for all publishes that wait for it; while the broker is away it is tried again until nobody waits. */
export class Preparation {
  readonly #prepare: Prepare;
  readonly #runtime: Runtime;
  #plain: Promise<void> | undefined;
  #delayed: Promise<void> | undefined;
  #untilMs = 0;

  constructor(prepare: Prepare, runtime: Runtime) {
    this.#prepare = prepare;
    this.#runtime = runtime;
  }

  /** `undefined`: nothing to wait for. `deadlineMs`: until when this caller waits. */
  ready(delayed: boolean, deadlineMs: number): Promise<void> | undefined {
    this.#untilMs = Math.max(this.#untilMs, deadlineMs);
    const known = delayed ? this.#delayed : this.#plain;
    if (known) return known;
    const first = this.#prepare(delayed);
    if (!first) return undefined;
    const step = this.#untilReady(first, delayed).finally(() => this.#remember(delayed, undefined));
    this.#remember(delayed, step);
    return step;
  }

  #remember(delayed: boolean, step: Promise<void> | undefined): void {
    if (delayed) this.#delayed = step;
    else this.#plain = step;
  }

  async #untilReady(first: Promise<void>, delayed: boolean): Promise<void> {
    const backoff = new Backoff(this.#runtime, 50, 5000);
    for (let attempt: Promise<void> | undefined = first; ; attempt = this.#prepare(delayed)) {
      try {
        return await attempt;
      } catch (error) {
        if (!isSluiceError(error, "UNAVAILABLE") || this.#runtime.monotonicMs() >= this.#untilMs) throw error;
      }
      // The callers' own deadlines keep the process alive; this does not.
      await new Promise<void>((resolve) => void this.#runtime.timer(backoff.next(), resolve, { background: true }));
    }
  }
}
