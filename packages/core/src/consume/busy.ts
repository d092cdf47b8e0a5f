import type { Work } from "./work.ts";

/** What an engine is busy with. Everything else that it holds waits. */
export class Busy {
  /** Their handlers run, each in a slot. */
  readonly running: Set<Work> = new Set();
  /** They ran for twice their time limit: their slots were given to others. */
  readonly stuck: Set<Work> = new Set();
  /** Being moved or settled. */
  readonly leaving: Set<Work> = new Set();
  #waiting: { readonly ours: boolean; readonly resolve: () => void }[] = [];

  *[Symbol.iterator](): Iterator<Work> {
    yield* this.running;
    yield* this.stuck;
    yield* this.leaving;
  }

  /** Resolves when no handler runs and nothing is being moved or settled. `ours`: but for what is lost, and runs on unheard. */
  quiet(ours: boolean): Promise<void> {
    if (this.#isQuiet(ours)) return Promise.resolve();
    return new Promise((resolve) => void this.#waiting.push({ ours, resolve }));
  }

  /** To be called when one of them ended, or was lost. */
  check(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = waiting.filter(({ ours }) => !this.#isQuiet(ours));
    for (const { ours, resolve } of waiting) if (this.#isQuiet(ours)) resolve();
  }

  #isQuiet(ours: boolean): boolean {
    if (!ours) return this.running.size === 0 && this.leaving.size === 0;
    return [...this.running, ...this.leaving].every((work) => work.lost);
  }
}
