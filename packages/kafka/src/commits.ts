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
  commit(positions: readonly (CommitPosition & { readonly id: string })[]): Promise<void>;
  /** The windows have moved on. */
  stored(): void;
  failed(error: unknown): void;
}

/**
 * Commits prefixes: one request at a time; as soon as a partition has finished a quarter of its window, every second, and on demand.
 * Three quarters of the window are left to hand out from while the request is under way.
 */
export class CommitLoop {
  readonly #target: CommitTarget;
  readonly #runtime: Runtime;
  #cancelTimer: (() => void) | undefined;
  #tail: Promise<void> = Promise.resolve();
  #queued: Promise<void> | undefined;

  constructor(target: CommitTarget, runtime: Runtime) {
    this.#target = target;
    this.#runtime = runtime;
  }

  /** A record of this partition was accepted. */
  accepted(shard: Shard): void {
    if (shard.ripe || this.#target.clean) this.request();
    else this.later();
  }

  /** Commits within a second what can be committed then. */
  later(): void {
    this.#cancelTimer ??= this.#runtime.timer(intervalMs, () => this.request());
  }

  /** Commits soon what can be committed; failures go to the target. */
  request(): void {
    this.run().catch((error: unknown) => this.#target.failed(error));
  }

  /** Resolves when everything that was finished at the call is stored. Calls while one is under way share the one after it. */
  run(): Promise<void> {
    if (!this.#queued) {
      const run = this.#tail.then(() => {
        this.#queued = undefined;
        return this.#once();
      });
      this.#queued = run;
      this.#tail = run.catch(() => {}); // whoever called has the reason
    }
    return this.#queued;
  }

  stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  async #once(): Promise<void> {
    const { clean } = this.#target;
    this.stop();
    const shards = [...this.#target.shards()].filter(
      (shard) => clean || shard.dirty || shard.position > shard.committed,
    );
    if (shards.length === 0) return;
    const positions = shards.map((shard) => shard.commitPosition(clean));
    // What becomes dirty from here on is for the next commit.
    for (const shard of shards) shard.dirty = false;
    await this.#send(shards, positions);
    for (const [index, shard] of shards.entries()) {
      shard.dirty ||= clean;
      const position = positions[index];
      if (position) shard.stored(position);
    }
    this.#target.stored();
  }

  async #send(
    shards: readonly Shard[],
    positions: readonly (CommitPosition & { readonly upto: number })[],
  ): Promise<void> {
    try {
      await this.#target.commit(
        positions.map(({ topic, partition, offset, metadata }, index) => ({
          id: shards[index]?.id ?? "",
          topic,
          partition,
          offset,
          metadata,
        })),
      );
    } catch (error) {
      for (const shard of shards) shard.dirty = true;
      throw error;
    }
  }
}
