import type { CommitResult, DriverError, Receiver } from "../driver/index.ts";
import type { Work } from "./work.ts";

interface Entry {
  readonly work: Work;
  readonly answered: (result: "durable" | "lost" | DriverError) => void;
}

/**
 * Acceptances of a transactional subscription: each with what its handler published, all or nothing. What is decided in one turn
 * goes in one call. Calls overlap: a unit may have to wait in the driver for an older one that is decided later.
 */
export class Commits {
  #pending: Entry[] = [];
  #open = 0;
  #idle: (() => void)[] = [];

  accept(work: Work, answered: Entry["answered"]): void {
    this.#pending.push({ work, answered });
    this.#open++;
    // A microtask later: everything that this turn decides joins the call.
    if (this.#pending.length === 1) void Promise.resolve().then(() => this.#flush());
  }

  /** Resolves when nothing is pending or under way. */
  idle(): Promise<void> {
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => void this.#idle.push(resolve));
  }

  #flush(): void {
    const entries = this.#pending;
    this.#pending = [];
    for (const receiver of new Set(entries.map(({ work }) => work.receiver))) {
      void this.#commit(
        receiver,
        entries.filter(({ work }) => work.receiver === receiver),
      );
    }
  }

  async #commit(receiver: Receiver, entries: readonly Entry[]): Promise<void> {
    // What was lost since it was decided is never settled by us.
    const ours = entries.filter(({ work }) => !work.lost);
    for (const { work, answered } of entries) if (work.lost) answered("lost");
    const results = ours.length === 0 ? [] : await commit(receiver, ours);
    for (const [index, { answered }] of ours.entries()) {
      const result = results[index] ?? "lost";
      // Of an unknown one the receiver fails: it comes again, or it happened.
      answered(result === "unknown" ? "lost" : result);
    }
    this.#open -= entries.length;
    if (this.#open > 0) return;
    const waiting = this.#idle;
    this.#idle = [];
    for (const resolve of waiting) resolve();
  }
}

async function commit(receiver: Receiver, entries: readonly Entry[]): Promise<readonly CommitResult[]> {
  try {
    return (await receiver.commit?.(entries.map(({ work }) => ({ accept: [work.delivery], send: work.outbox })))) ?? [];
  } catch {
    // A receiver that fails is finished: whatever it held comes again.
    return [];
  }
}
