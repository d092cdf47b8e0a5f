import type { Runtime } from "@sluice/core/driver";
import type { CommitPosition } from "./client.ts";
import type { Shard } from "./shard.ts";

const intervalMs = 1_000;

export interface CommitTarget {
  /** The partitions that are ours now. */
  shards(): Iterable<Shard>;
  /** Whether nothing is handed out any more: then a commit takes the start marks away. */
  readonly clean: boolean;
  /** Resolves when the positions are stored. */
  commit(positions: readonly CommitPosition[]): Promise<void>;
  /** The windows have moved on. */
  stored(): void;
  failed(error: unknown): void;
}

/** Commits prefixes: one request at a time, at every quarter of the window or every second, and on demand. */
export class CommitLoop {
  readonly #target: CommitTarget;
  readonly #runtime: Runtime;
  readonly #quarter: number;
  #accepted = 0;
  #cancelTimer: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(target: CommitTarget, runtime: Runtime, window: number) {
    this.#target = target;
    this.#runtime = runtime;
    this.#quarter = Math.max(1, Math.floor(window / 4));
  }

  /** A record was accepted. */
  accepted(): void {
    this.#accepted += 1;
    if (this.#accepted >= this.#quarter || this.#target.clean) this.request();
    else this.#cancelTimer ??= this.#runtime.timer(intervalMs, () => this.request());
  }

  /** Commits soon what can be committed; failures go to the target. */
  request(): void {
    this.run().catch((error: unknown) => this.#target.failed(error));
  }

  /** Resolves when everything that was finished at the call is stored. */
  run(): Promise<void> {
    if (this.#running) {
      // The request under way was built before: one more follows it, and all who ask meanwhile share it.
      this.#next ??= this.#running.then(
        () => this.#start(),
        () => this.#start(),
      );
      return this.#next;
    }
    return this.#start();
  }

  stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #start(): Promise<void> {
    this.#next = undefined;
    this.#running = this.#once().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #once(): Promise<void> {
    const { clean } = this.#target;
    this.stop();
    this.#accepted = 0;
    const shards = [...this.#target.shards()].filter((shard) => clean || shard.dirty || shard.position > shard.committed);
    if (shards.length === 0) return;
    const positions = shards.map((shard) => shard.commitPosition(clean));
    await this.#target.commit(positions);
    for (const [index, shard] of shards.entries()) {
      shard.dirty = clean;
      shard.stored(positions[index]?.offset ?? shard.committed);
    }
    this.#target.stored();
  }
}
