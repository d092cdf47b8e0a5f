import type { DriverError, Runtime, SettleResult, Settlement } from "@sluice/core/driver";
import { translate } from "./errors.ts";
import type { Lane } from "./lane.ts";

/** An open lane without a record gives its place away after this. */
const idleMs = 100;

/** A busy one after this. */
const turnMs = 1_000;

/** Nothing waits in any queue: so long until the next look, for each of them, and at most. */
const restMs = { each: 12, most: 1_000 };

interface Turn {
  readonly lane: Lane;
  readonly sinceMs: number;
}

export interface TurnsParts {
  readonly window: number;
  /** Lanes that may be open at once. */
  readonly places: number;
  readonly runtime: Runtime;
  readonly depth: (queue: string) => Promise<number>;
  readonly failed: (error: DriverError) => void;
}

/**
 * Keeps the window a bound over several queues. With a place for each, all are open and share it. With fewer places than queues (a
 * window of 1 over eight shards) queues take turns, one record at a time, and those in which nothing waits are passed over.
 */
export class Turns {
  readonly #lanes: readonly Lane[];
  readonly #parts: TurnsParts;
  readonly #turns = new Map<Lane, Turn>();
  #upcoming: Lane[] = [];
  #cancel: (() => void) | undefined;
  #ended = false;
  /** The last look found nothing that waits. */
  #quiet = false;

  constructor(lanes: readonly Lane[], parts: TurnsParts) {
    this.#lanes = lanes;
    this.#parts = parts;
  }

  get rotating(): boolean {
    return this.#parts.places < this.#lanes.length;
  }

  async start(): Promise<void> {
    const { window, places } = this.#parts;
    if (this.rotating) {
      this.#upcoming = [...this.#lanes];
      for (let place = 0; place < places; place++) await this.#openNext();
      this.#schedule();
      return;
    }
    const share = Math.floor(window / this.#lanes.length);
    const rest = window - share * this.#lanes.length;
    const prefetch = (index: number) => Math.min(65_535, Math.max(1, share + (index < rest ? 1 : 0)));
    await Promise.all(this.#lanes.map((lane, index) => lane.open(prefetch(index))));
  }

  /** Settles; where the lane's turn is over, the settlement is its last act. */
  settle(lane: Lane, settlements: readonly Settlement[]): readonly SettleResult[] | Promise<readonly SettleResult[]> {
    const turn = this.#turns.get(lane);
    const [only, ...others] = settlements;
    const over = turn && this.#parts.runtime.monotonicMs() - turn.sinceMs >= turnMs;
    if (!over || this.#ended || !only?.accept || others.length > 0) return lane.settle(settlements);
    this.#turns.delete(lane);
    return lane.leave(only.delivery).then((result) => {
      void this.#pass(lane);
      return [result];
    });
  }

  end(): void {
    this.#ended = true;
    this.#cancel?.();
  }

  #schedule(): void {
    if (this.#ended) return;
    const { runtime } = this.#parts;
    const ms = Math.min(restMs.most, Math.max(idleMs, this.#quiet ? restMs.each * this.#upcoming.length : 0));
    this.#cancel = runtime.timer(ms, () => void this.#round(), { background: true });
  }

  /** Idle lanes give their places to those in which something waits; while nothing does, nobody moves. */
  async #round(): Promise<void> {
    const now = this.#parts.runtime.monotonicMs();
    for (const { lane, sinceMs } of this.#turns.values()) {
      if (!lane.idle || now - sinceMs < idleMs || this.#ended) continue;
      const next = await this.#nextWaiting();
      if (!next) break;
      this.#upcoming.unshift(next);
      if (!lane.idle) continue;
      this.#turns.delete(lane);
      await lane.leave(undefined);
      await this.#pass(lane);
    }
    this.#schedule();
  }

  /** The lane goes to the end of the row, and the next one opens. */
  async #pass(lane: Lane): Promise<void> {
    this.#upcoming.push(lane);
    if (this.#ended) return;
    await this.#openNext().catch((error: unknown) => this.#parts.failed(translate(error, "cannot consume")));
  }

  /** Takes the next one in the row in which something waits out of it. */
  async #nextWaiting(): Promise<Lane | undefined> {
    this.#quiet = false;
    for (let look = this.#upcoming.length; look > 0 && !this.#ended; look--) {
      const lane = this.#upcoming.shift();
      // One that cannot be looked at is opened, and says why it cannot be.
      if (lane && (await this.#parts.depth(lane.spec.shard).catch(() => 1)) > 0) return lane;
      if (lane) this.#upcoming.push(lane);
    }
    this.#quiet = true;
    return undefined;
  }

  async #openNext(): Promise<void> {
    const lane = (await this.#nextWaiting()) ?? this.#upcoming.shift();
    if (!lane || this.#ended) return;
    await lane.open(1);
    if (this.#ended) return lane.close();
    this.#turns.set(lane, { lane, sinceMs: this.#parts.runtime.monotonicMs() });
  }
}
