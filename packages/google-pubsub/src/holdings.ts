import type { Delivery, Runtime, SettleResult, Settlement } from "@sluice/core/driver";
import { settleIds } from "./acks.ts";
import type { Calls } from "./channels.ts";

/** A subscription, as far as its leases go. */
export interface Leased {
  /** `projects/P/subscriptions/S`. */
  readonly subscription: string;
  readonly leaseMs: number;
  /** Acceptances are confirmed, and a late one is refused. */
  readonly exactlyOnce: boolean;
}

interface Holding {
  readonly delivery: Delivery;
  readonly ackId: string;
  readonly from: Leased;
  /** Monotonic milliseconds until which the broker lets us have it, at least. */
  untilMs: number;
  /** Core has it, and renews it. */
  out: boolean;
  settling: boolean;
}

export interface HoldingsParts {
  readonly channels: Calls;
  readonly runtime: Runtime;
  readonly leaseMs: number;
  /** Core's: these stopped being ours. */
  lost(deliveries: readonly Delivery[]): void;
  /** There is room again. */
  room(): void;
}

/** Longest lease that can be asked for. */
const longestSeconds = 600;

/**
 * Everything that a receiver has and has not settled, with the lease of each. n.b. without exactly-once delivery the broker takes
 * late settlements without a word: only our own clock tells that a lease is over.
 */
export class Holdings {
  readonly #parts: HoldingsParts;
  readonly #all = new Map<Delivery, Holding>();
  #bytes = 0;
  #cancel: (() => void) | undefined;
  #ended = false;

  constructor(parts: HoldingsParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#all.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  has(delivery: Delivery): boolean {
    return this.#all.has(delivery);
  }

  /** `sinceMs`: when it was asked for, so that its lease is never thought longer than it is. */
  add(delivery: Delivery, ackId: string, from: Leased, sinceMs: number): void {
    const untilMs = sinceMs + from.leaseMs;
    this.#all.set(delivery, { delivery, ackId, from, untilMs, out: false, settling: false });
    this.#bytes += delivery.body?.length ?? 0;
    if (!this.#cancel) this.#schedule();
  }

  handOut(delivery: Delivery): void {
    const holding = this.#all.get(delivery);
    if (holding) holding.out = true;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results: SettleResult[] = settlements.map(() => "lost");
    const jobs = new Map<string, { holding: Holding; index: number }[]>();
    const now = this.#parts.runtime.monotonicMs();
    for (const [index, settlement] of settlements.entries()) {
      const holding = this.#all.get(settlement.delivery);
      if (!holding || !holding.out || holding.settling || holding.untilMs <= now) continue;
      holding.settling = true;
      const name = `${holding.from.subscription} ${settlement.accept}`;
      const job = jobs.get(name);
      if (job) job.push({ holding, index });
      else jobs.set(name, [{ holding, index }]);
    }
    const settleAll = [...jobs.values()].map(async (job) => {
      const first = job[0];
      if (!first) return;
      const { subscription, exactlyOnce } = first.holding.from;
      const seconds = settlements[first.index]?.accept ? undefined : 0;
      const ids = job.map(({ holding }) => holding.ackId);
      const lost = await settleIds(this.#parts, subscription, ids, seconds);
      for (const { holding, index } of job) {
        if (this.#remove(holding) && !lost.has(holding.ackId)) results[index] = exactlyOnce ? "durable" : "sent";
      }
    });
    await Promise.all(settleAll);
    if (jobs.size > 0) this.#parts.room();
    return results;
  }

  /** Prolongs to `ms` from now. Resolves to those that are lost. */
  async extend(deliveries: readonly Delivery[], ms: number): Promise<readonly Delivery[]> {
    const now = this.#parts.runtime.monotonicMs();
    const holdings = deliveries.map((delivery) => this.#all.get(delivery));
    const gone = deliveries.filter((_, index) => {
      const holding = holdings[index];
      return !holding || (holding.untilMs <= now && !holding.settling);
    });
    const alive = holdings.flatMap((holding) => holding ?? []);
    const lost = await this.#prolong(
      alive.filter(({ untilMs, settling }) => untilMs > now && !settling),
      ms,
    );
    for (const delivery of [...gone, ...lost]) this.#forget(delivery);
    return [...gone, ...lost];
  }

  /** Gives back what core never saw, and forgets it; in order. */
  async release(deliveries: readonly Delivery[], signal?: AbortSignal): Promise<void> {
    const ids = new Map<string, string[]>();
    for (const delivery of deliveries) {
      const holding = this.#all.get(delivery);
      if (!holding || !this.#remove(holding)) continue;
      const { subscription } = holding.from;
      const list = ids.get(subscription);
      if (list) list.push(holding.ackId);
      else ids.set(subscription, [holding.ackId]);
    }
    await Promise.all([...ids].map(([subscription, some]) => settleIds(this.#parts, subscription, some, 0, signal)));
  }

  /** Gives back everything. */
  async end(signal: AbortSignal): Promise<void> {
    this.#ended = true;
    this.#cancel?.();
    await this.release([...this.#all.keys()], signal);
  }

  /** Everything that core has, forgotten. */
  surrender(): readonly Delivery[] {
    this.#ended = true;
    this.#cancel?.();
    const out = [...this.#all.values()].filter((holding) => holding.out).map(({ delivery }) => delivery);
    this.#all.clear();
    this.#bytes = 0;
    return out;
  }

  #schedule(): void {
    const { runtime, leaseMs } = this.#parts;
    if (this.#ended) return;
    this.#cancel = runtime.timer(leaseMs / 4, () => void this.#look(), { background: true });
  }

  /** What waits here is renewed here; what core has and did not renew in time is lost. */
  async #look(): Promise<void> {
    this.#cancel = undefined;
    if (this.#all.size > 0) this.#schedule();
    const now = this.#parts.runtime.monotonicMs();
    const expired = [...this.#all.values()].filter(({ untilMs, settling }) => untilMs <= now && !settling);
    this.#lose(expired.filter((holding) => this.#remove(holding)));
    const waiting = [...this.#all.values()].filter(
      ({ out, untilMs, from }) => !out && untilMs - now < (from.leaseMs * 2) / 3,
    );
    const lost = await this.#prolong(waiting, this.#parts.leaseMs);
    for (const delivery of lost) this.#forget(delivery);
  }

  #lose(holdings: readonly Holding[]): void {
    const out = holdings.filter((holding) => holding.out).map(({ delivery }) => delivery);
    if (out.length > 0) this.#parts.lost(out);
    if (holdings.length > 0) this.#parts.room();
  }

  async #prolong(holdings: readonly Holding[], ms: number): Promise<readonly Delivery[]> {
    const seconds = Math.min(longestSeconds, Math.max(10, Math.ceil(ms / 1_000)));
    const bySubscription = Map.groupBy(holdings, ({ from }) => from.subscription);
    const since = this.#parts.runtime.monotonicMs();
    const lost: Delivery[] = [];
    const all = [...bySubscription].map(async ([subscription, some]) => {
      const refused = await settleIds(
        this.#parts,
        subscription,
        some.map(({ ackId }) => ackId),
        seconds,
      );
      for (const holding of some) {
        // Without exactly-once a refusal says nothing about one message: our clock does.
        if (!refused.has(holding.ackId)) holding.untilMs = since + seconds * 1_000;
        else if (holding.from.exactlyOnce && !holding.settling) lost.push(holding.delivery);
      }
    });
    await Promise.all(all);
    return lost;
  }

  #forget(delivery: Delivery): void {
    const holding = this.#all.get(delivery);
    if (holding) this.#remove(holding);
  }

  #remove(holding: Holding): boolean {
    if (!this.#all.delete(holding.delivery)) return false;
    this.#bytes -= holding.delivery.body?.length ?? 0;
    return true;
  }
}
