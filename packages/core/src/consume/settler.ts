import type { DriverError, Receiver, SettleResult, Settlement } from "../driver/index.ts";
import { Commits } from "./commits.ts";
import type { Work } from "./work.ts";

interface Entry {
  readonly work: Work;
  readonly settlement: Settlement;
  readonly answered: (result: SettleResult) => void;
}

/**
 * Settlements in the order in which they were decided, coalesced: what is decided in one turn, or while a call is under way,
 * goes in one call. No promise per message.
 */
export class Settler {
  readonly #limit: number;
  readonly #commits: Commits | undefined;
  #pending: Entry[] = [];
  #busy = false;
  #idle: (() => void)[] = [];

  constructor(limit: number, transactional: boolean) {
    this.#limit = limit;
    this.#commits = transactional ? new Commits() : undefined;
  }

  /** `answered` gets an error only in a transaction: nothing happened, because of what the message's handler published. */
  accept(work: Work, answered: (result: SettleResult | DriverError) => void): void {
    if (this.#commits) return this.#commits.accept(work, answered);
    this.#push({ work, settlement: { delivery: work.delivery, accept: true }, answered });
  }

  release(work: Work, release: "returned" | "failed", answered: (result: SettleResult) => void): void {
    this.#push({ work, settlement: { delivery: work.delivery, accept: false, release }, answered });
  }

  /** Resolves when nothing is pending or under way. */
  async idle(): Promise<void> {
    await this.#commits?.idle();
    if (this.#busy) await new Promise<void>((resolve) => void this.#idle.push(resolve));
  }

  #push(entry: Entry): void {
    this.#pending.push(entry);
    if (this.#busy) return;
    this.#busy = true;
    // A microtask later: everything that this turn decides joins the call.
    void Promise.resolve().then(() => this.#run());
  }

  async #run(): Promise<void> {
    while (this.#pending.length > 0) {
      const entries = this.#take();
      const first = entries[0];
      if (!first) break;
      // What was lost since it was decided is never settled by us.
      const ours = entries.filter((entry) => !entry.work.lost);
      for (const entry of entries) if (entry.work.lost) entry.answered("lost");
      if (ours.length === 0) continue;
      const results = await settle(first.work.receiver, ours);
      for (const [index, entry] of ours.entries()) entry.answered(results[index] ?? "lost");
    }
    this.#busy = false;
    const waiting = this.#idle;
    this.#idle = [];
    for (const resolve of waiting) resolve();
  }

  /** The longest run for one receiver, up to the limit. */
  #take(): Entry[] {
    const receiver = this.#pending[0]?.work.receiver;
    let end = 0;
    while (end < this.#limit && end < this.#pending.length && this.#pending[end]?.work.receiver === receiver) end++;
    return this.#pending.splice(0, end);
  }
}

async function settle(receiver: Receiver, entries: readonly Entry[]): Promise<readonly SettleResult[]> {
  try {
    return await receiver.settle(entries.map((entry) => entry.settlement));
  } catch {
    // A receiver that fails is finished: whatever it held comes again, so the settlements are lost, not the messages.
    return entries.map(() => "lost");
  }
}
