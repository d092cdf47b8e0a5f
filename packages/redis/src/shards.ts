import type { Runtime } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import { numbers } from "./replies.ts";
import { beat } from "./scripts/shards.ts";

/** A shard of an ordered group, as one receiver sees it. */
export interface Shard {
  readonly index: number;
  readonly lease: string;
  held: boolean;
  fence: bigint;
  /** On its way to another instance: nothing new is read, and it is given up when the last one is settled. */
  leaving: boolean;
  /** Messages in hand. */
  count: number;
}

export interface ShardSetParts {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly consumer: string;
  readonly group: string;
  readonly leaseMs: number;
  readonly members: string;
  readonly meta: string;
  readonly leases: readonly string[];
  /** Topic's stream and own entry of each shard. */
  readonly streams: readonly (readonly [stream: string, own: string])[];
  /** Shards came. */
  gained(shards: readonly Shard[]): void;
  /** They are somebody else's now, or may be. */
  lost(shards: readonly Shard[]): void;
  /** Nothing of them is in hand any more: give them up. */
  giveUp(shards: readonly Shard[]): void;
  failed(error: unknown): void;
}

/** Longest time between two heartbeats. */
const slowestMs = 5_000;

/**
 * The shards of one ordered group and topic: a lease with a fence each, spread evenly over the living instances. Whoever holds more
 * than its share finishes what it has of some, and gives them up.
 */
export class ShardSet {
  readonly shards: readonly Shard[];
  readonly #parts: ShardSetParts;
  #renewedMs: number;
  #share = Infinity;
  #cancel: (() => void) | undefined;
  #cancelExpiry: (() => void) | undefined;
  #ended = false;

  constructor(parts: ShardSetParts) {
    this.#parts = parts;
    this.#renewedMs = parts.runtime.monotonicMs();
    this.shards = parts.leases.map((lease, index) => ({
      index,
      lease,
      held: false,
      fence: 0n,
      leaving: false,
      count: 0,
    }));
  }

  get members(): string {
    return this.#parts.members;
  }

  streams({ index }: Shard): readonly [stream: string, own: string] {
    return this.#parts.streams[index] ?? ["", ""];
  }

  /** Takes its first shards. @throws DriverError */
  async start(): Promise<void> {
    await this.#beat();
    this.#schedule();
  }

  end(): void {
    this.#ended = true;
    this.#cancel?.();
    this.#cancelExpiry?.();
  }

  /** Something of the shard was settled. */
  settled(shard: Shard): void {
    shard.count--;
    if (shard.leaving && shard.count === 0 && shard.held) this.#parts.giveUp([shard]);
  }

  #schedule(): void {
    const { runtime, leaseMs } = this.#parts;
    const ms = Math.min(slowestMs, leaseMs / 6) * (0.8 + 0.4 * runtime.random());
    this.#cancel = runtime.timer(ms, () => void this.#again(), { background: true });
  }

  async #again(): Promise<void> {
    this.#expire();
    try {
      await this.#beat();
    } catch (error) {
      if (!this.#ended) this.#parts.failed(error);
    }
    if (!this.#ended) this.#schedule();
  }

  async #beat(): Promise<void> {
    const { link, runtime, consumer, group, leaseMs, members, meta, leases } = this.#parts;
    const sentMs = runtime.monotonicMs();
    const answer = await link.run(
      `cannot hold shards of group "${group}"`,
      beat,
      [members, meta, ...leases],
      [consumer, leaseMs, group],
    );
    if (this.#ended) return;
    const [share = 1, ...fences] = numbers(answer);
    this.#share = share;
    this.#renewedMs = sentMs;
    this.#cancelExpiry?.();
    this.#cancelExpiry = runtime.timer(leaseMs, () => this.#expire(), { background: true });
    this.#apply(fences);
    this.#balance();
  }

  #apply(fences: readonly number[]): void {
    const lost: Shard[] = [];
    const gained: Shard[] = [];
    for (const shard of this.shards) {
      const fence = fences[shard.index] ?? -1;
      // Another fence: it was somebody else's in between.
      if (shard.held && (fence < 0 || BigInt(fence) !== shard.fence)) {
        shard.held = false;
        lost.push(shard);
      }
      if (shard.held || fence < 0) continue;
      shard.held = true;
      shard.leaving = false;
      shard.fence = BigInt(fence);
      gained.push(shard);
    }
    if (lost.length > 0) this.#parts.lost(lost);
    if (gained.length > 0) this.#parts.gained(gained);
  }

  #balance(): void {
    const held = this.shards.filter((shard) => shard.held);
    const surplus = held.length - this.#share;
    const order = held.toSorted((one, other) => Number(other.leaving) - Number(one.leaving) || one.count - other.count);
    let stays = false;
    for (const [index, shard] of order.entries()) {
      const leaving = index < surplus;
      stays ||= shard.leaving && !leaving;
      shard.leaving = leaving;
    }
    const free = order.filter((shard) => shard.leaving && shard.count === 0);
    if (free.length > 0) this.#parts.giveUp(free);
    // One that stays after all is to be read again.
    if (stays) this.#parts.gained([]);
  }

  /** n.b. also after a pause of the whole process: nobody told us that the leases ran out. */
  #expire(): void {
    const { runtime, leaseMs } = this.#parts;
    if (runtime.monotonicMs() - this.#renewedMs < leaseMs) return;
    const lost = this.shards.filter((shard) => shard.held);
    for (const shard of lost) shard.held = false;
    if (lost.length > 0) this.#parts.lost(lost);
  }
}
