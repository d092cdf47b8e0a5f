import type { Runtime } from "./driver/index.ts";

/** Full-jitter back-off: each wait is drawn from a tenth to the whole of min(max, first × 2^n). */
export class Backoff {
  readonly #runtime: Runtime;
  readonly #first: number;
  readonly #max: number;
  #failures = 0;

  constructor(runtime: Runtime, firstMs: number, maxMs: number) {
    this.#runtime = runtime;
    this.#first = firstMs;
    this.#max = maxMs;
  }

  /** The next wait in milliseconds. */
  next(): number {
    const ceiling = Math.min(this.#max, this.#first * 2 ** this.#failures++);
    // A tenth as floor: full jitter may draw 0, and a loop of zeros is a hot loop.
    return ceiling * (0.1 + 0.9 * this.#runtime.random());
  }

  reset(): void {
    this.#failures = 0;
  }
}
