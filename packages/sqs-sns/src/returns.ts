import type { SendItem, SendResult } from "@sluice/core/driver";
import type { Held } from "./holdings.ts";
import type { Polls } from "./polls.ts";
import { type Confirmation, deleteAll, hideAll, type SettleParts } from "./settlements.ts";
import { isCounted, uncounted } from "./uncounted.ts";

export interface ReturnsParts extends SettleParts {
  readonly polls: Polls;
  /** Stores copies in the queues of groups. */
  send(items: readonly SendItem[]): Promise<readonly SendResult[]>;
}

/** Gives messages back to everybody, and remembers what is under way. */
export class Returns {
  readonly #parts: ReturnsParts;
  readonly #underway = new Set<Promise<unknown>>();

  constructor(parts: ReturnsParts) {
    this.#parts = parts;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#underway);
  }

  /**
   * Shows messages again. Of a FIFO queue the last of a group first: those before it still hide it then. n.b. An open poll of ours
   * that nobody waits for would get them at once, and raise their count for nothing: where there is one, a little later.
   */
  async show(held: readonly Held[]): Promise<ReadonlyMap<Held, Confirmation>> {
    const nowMs = this.#parts.runtime.monotonicMs();
    const last = held.toSorted((one, other) => other.sequence - one.sequence);
    const bySeconds = Map.groupBy(last, ({ line }) => {
      const untilMs = this.#parts.polls.staleUntilMs(line.queue);
      return Math.max(0, Math.ceil((untilMs - nowMs) / 1_000));
    });
    const all = [...bySeconds].map(([seconds, some]) => hideAll(this.#parts, some, seconds));
    return new Map((await Promise.all(all)).flatMap((results) => [...results]));
  }

  /** The same, in the background. */
  giveBack(held: readonly Held[]): void {
    if (held.length > 0) this.#track(this.show(held));
  }

  /** n.b. Nobody ran these, but the service counted the receipt: before it looks like a crash, a copy with the old count goes back. */
  giveBackUnseen(held: readonly Held[]): void {
    const counted = held.filter(isCounted);
    this.giveBack(held.filter((one) => !counted.includes(one)));
    if (counted.length > 0) this.#track(this.#putBack(counted));
  }

  async #putBack(held: readonly Held[]): Promise<void> {
    const results = await this.#parts.send(held.map(({ delivery }) => uncounted(delivery)));
    const stored = held.filter((_, index) => results[index]?.outcome === "stored");
    const others = held.filter((one) => !stored.includes(one));
    await Promise.all([deleteAll(this.#parts, stored), this.show(others)]);
  }

  #track(work: Promise<unknown>): void {
    this.#underway.add(work);
    void work.finally(() => this.#underway.delete(work));
  }
}
