import type { Delivery, LostReason, Runtime } from "@sluice/core/driver";
import { holdMs } from "./delays.ts";
import type { Line } from "./polls.ts";

/** One message that is ours for now. */
export interface Held {
  readonly line: Line;
  readonly delivery: Delivery;
  readonly handle: string;
  /** Grows with every receipt: the order within a group of a FIFO queue. */
  readonly sequence: number;
  readonly receivedMs: number;
  leaseUntilMs: number;
  /** Core has it. */
  seen: boolean;
}

export interface HoldingsParts {
  readonly runtime: Runtime;
  readonly leaseMs: number;
  lost(deliveries: readonly Delivery[], reason: LostReason): void;
  /** These were taken out because one before them in their group is gone: they go back too, the last first. */
  giveBack(held: readonly Held[]): void;
}

/** A lease that ends so soon may end before anything that we do about it arrives. */
const marginMs = 100;

/**
 * What a receiver holds, with the end of each lease. A standard queue takes deletions and renewals of leases that ended long ago
 * and says nothing: whether a message is still ours can only be told by our own clock.
 */
export class Holdings {
  readonly #parts: HoldingsParts;
  readonly #held = new Map<Delivery, Held>();
  /** Of FIFO queues: by group. */
  readonly #groups = new Map<string, Set<Held>>();
  #sequence = 0;
  #cancel: (() => void) | undefined;
  bytes = 0;

  constructor(parts: HoldingsParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#held.size;
  }

  add(line: Line, delivery: Delivery, handle: string): Held {
    const nowMs = this.#parts.runtime.monotonicMs();
    const held: Held = {
      line,
      delivery,
      handle,
      sequence: ++this.#sequence,
      receivedMs: nowMs,
      leaseUntilMs: nowMs + this.#parts.leaseMs - marginMs,
      seen: false,
    };
    this.#held.set(delivery, held);
    this.bytes += delivery.body?.byteLength ?? 0;
    if (line.queue.fifo) this.#group(delivery.shard).add(held);
    this.#cancel ??= this.#schedule();
    return held;
  }

  /** Still ours, by our clock. */
  get(delivery: Delivery): Held | undefined {
    const held = this.#held.get(delivery);
    return held && held.leaseUntilMs > this.#parts.runtime.monotonicMs() ? held : undefined;
  }

  renew(held: Held, fromMs: number, ms: number): void {
    held.leaseUntilMs = fromMs + ms - marginMs;
  }

  /** Whether a renewal for so long would go beyond the twelve hours after which there is none. */
  tooLong(held: Held, ms: number): boolean {
    return this.#parts.runtime.monotonicMs() + ms > held.receivedMs + holdMs + this.#parts.leaseMs;
  }

  remove(held: Held): void {
    if (!this.#held.delete(held.delivery)) return;
    this.bytes -= held.delivery.body?.byteLength ?? 0;
    const group = held.line.queue.fifo ? this.#groups.get(held.delivery.shard) : undefined;
    group?.delete(held);
    if (group?.size === 0) this.#groups.delete(held.delivery.shard);
  }

  /** Takes out what came after this one in its group, in order. n.b. Else it would be run before the one that comes again. */
  takeTail(held: Held): Held[] {
    const group = this.#groups.get(held.delivery.shard) ?? [];
    const tail = [...group].filter((other) => other.sequence > held.sequence);
    for (const other of tail) this.remove(other);
    return tail.sort((one, other) => one.sequence - other.sequence);
  }

  /** Takes everything out. */
  drain(): Held[] {
    const all = [...this.#held.values()];
    this.#held.clear();
    this.#groups.clear();
    this.bytes = 0;
    this.end();
    return all;
  }

  end(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #group(shard: string): Set<Held> {
    let group = this.#groups.get(shard);
    if (!group) this.#groups.set(shard, (group = new Set()));
    return group;
  }

  #schedule(): (() => void) | undefined {
    if (this.#held.size === 0) return undefined;
    const { runtime } = this.#parts;
    let first = Infinity;
    for (const { leaseUntilMs } of this.#held.values()) first = Math.min(first, leaseUntilMs);
    const waitMs = Math.max(20, first - runtime.monotonicMs());
    return runtime.timer(waitMs, () => this.#expire(), { background: true });
  }

  #expire(): void {
    const nowMs = this.#parts.runtime.monotonicMs();
    const ended = [...this.#held.values()].filter(({ leaseUntilMs }) => leaseUntilMs <= nowMs);
    for (const held of ended) this.remove(held);
    const tails = ended.flatMap((held) => (held.line.queue.fifo ? this.takeTail(held) : []));
    this.#cancel = this.#schedule();
    if (tails.length > 0) this.#parts.giveBack(tails);
    const lost = [...ended, ...tails].filter(({ seen }) => seen).map(({ delivery }) => delivery);
    if (lost.length > 0) this.#parts.lost(lost, "expired");
  }
}
