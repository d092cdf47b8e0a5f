import type { DriverError, Runtime, SettleResult, Settlement } from "@sluice/core/driver";
import { translate } from "./errors.ts";
import type { Lane } from "./lane.ts";

/** An open lane without a record gives its place away after this. */
const idleMs = 100;

/** A busy one after this. */
const turnMs = 1_000;

interface Turn {
  readonly lane: Lane;
  readonly sinceMs: number;
}

/**
 * Keeps the window a hard bound over several queues. With at least one place for each, all are open and share it. With fewer places
 * than queues (a window of 1 over eight shards) queues take turns, one record at a time.
 */
export class Turns {
  readonly #lanes: readonly Lane[];
  readonly #places: number;
  readonly #runtime: Runtime;
  readonly #failed: (error: DriverError) => void;
  readonly #turns = new Map<Lane, Turn>();
  #upcoming: Lane[] = [];
  #window: number;
  #cancel: (() => void) | undefined;
  #ended = false;

  constructor(lanes: readonly Lane[], window: number, runtime: Runtime, failed: (error: DriverError) => void) {
    this.#lanes = lanes;
    this.#window = window;
    this.#places = Math.min(window, lanes.length);
    this.#runtime = runtime;
    this.#failed = failed;
  }

  get rotating(): boolean {
    return this.#places < this.#lanes.length;
  }

  async start(): Promise<void> {
    if (this.rotating) {
      this.#upcoming = [...this.#lanes];
      for (let place = 0; place < this.#places; place++) await this.#openNext();
      this.#schedule();
      return;
    }
    const share = Math.floor(this.#window / this.#lanes.length);
    const rest = this.#window - share * this.#lanes.length;
    await Promise.all(this.#lanes.map((lane, index) => lane.open(Math.min(65_535, share + (index < rest ? 1 : 0)))));
  }

  /** Settles; where the lane's turn is over, the settlement is its last act. */
  settle(lane: Lane, settlements: readonly Settlement[]): readonly SettleResult[] | Promise<readonly SettleResult[]> {
    const turn = this.#turns.get(lane);
    const [only, ...others] = settlements;
    const over = turn && this.#runtime.monotonicMs() - turn.sinceMs >= turnMs;
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
    this.#cancel = this.#runtime.timer(idleMs, () => void this.#round(), { background: true });
  }

  async #round(): Promise<void> {
    const now = this.#runtime.monotonicMs();
    for (const { lane, sinceMs } of this.#turns.values()) {
      if (!lane.idle || now - sinceMs < idleMs || this.#ended) continue;
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
    await this.#openNext().catch((error: unknown) => this.#failed(translate(error, "cannot consume")));
  }

  async #openNext(): Promise<void> {
    const lane = this.#upcoming.shift();
    if (!lane) return;
    await lane.open(1);
    if (this.#ended) return lane.close();
    this.#turns.set(lane, { lane, sinceMs: this.#runtime.monotonicMs() });
  }
}
