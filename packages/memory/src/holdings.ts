import type { Delivery, Runtime } from "@sluice/core/driver";
import type { Feed } from "./mailbox.ts";
import type { Entry } from "./record.ts";

/** A record that was handed out, and the place that it came from. */
export interface Held {
  readonly entry: Entry;
  readonly feed: Feed;
}

export interface Leases {
  readonly runtime: Runtime;
  readonly leaseMs: number;
  /** An ordered shard is lost as a whole. */
  readonly ordered: boolean;
  /** These leases ran out; the records are still held when it is called. */
  expired(deliveries: readonly Delivery[]): void;
}

/** Everything that one receiver was given and has not settled, with one timer for all leases. */
export class Holdings {
  readonly #leases: Leases;
  readonly #held = new Map<Delivery, Held>();
  #bytes = 0;
  #nextExpiryMs = Infinity;
  #cancelAlarm: (() => void) | undefined;

  constructor(leases: Leases) {
    this.#leases = leases;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Body bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  has(delivery: Delivery): boolean {
    return this.#held.has(delivery);
  }

  all(): Delivery[] {
    return [...this.#held.keys()];
  }

  add(delivery: Delivery, held: Held): void {
    const { entry } = held;
    entry.leaseUntilMs = this.#leases.runtime.monotonicMs() + this.#leases.leaseMs;
    this.#held.set(delivery, held);
    this.#bytes += entry.record.body?.byteLength ?? 0;
    if (this.#cancelAlarm === undefined) this.#arm(entry.leaseUntilMs);
  }

  /** Takes it out, or answers `undefined` when it is not there: late, doubled or foreign. */
  remove(delivery: Delivery): Held | undefined {
    const held = this.#held.get(delivery);
    if (held === undefined) return undefined;
    this.#held.delete(delivery);
    this.#bytes -= held.entry.record.body?.byteLength ?? 0;
    return held;
  }

  /** Prolongs to `ms` from now; answers those that are not held. */
  extend(deliveries: readonly Delivery[], ms: number): Delivery[] {
    const untilMs = this.#leases.runtime.monotonicMs() + ms;
    const lost = deliveries.filter((delivery) => {
      const held = this.#held.get(delivery);
      if (held !== undefined) held.entry.leaseUntilMs = untilMs;
      return held === undefined;
    });
    // Only a shorter lease needs an earlier alarm; a longer one is seen when the old alarm rings.
    if (untilMs < this.#nextExpiryMs) this.#arm(untilMs);
    return lost;
  }

  /** Reports what has run out by now, whether the alarm rang already or not. */
  expire(): void {
    const now = this.#leases.runtime.monotonicMs();
    if (now < this.#nextExpiryMs) return;
    const expired = [...this.#held].filter(([, { entry }]) => entry.leaseUntilMs <= now).map(([delivery]) => delivery);
    if (expired.length > 0) this.#leases.expired(this.#leases.ordered ? this.#wholeShards(expired) : expired);
    let earliest = Infinity;
    for (const { entry } of this.#held.values()) earliest = Math.min(earliest, entry.leaseUntilMs);
    this.#arm(earliest);
  }

  /** No more alarms. */
  close(): void {
    this.#arm(Infinity);
  }

  /** n.b. the later records of an ordered shard must not be settled while an earlier one comes again. */
  #wholeShards(expired: readonly Delivery[]): Delivery[] {
    const shards = new Set(expired.map(({ shard }) => shard));
    return this.all().filter(({ shard }) => shards.has(shard));
  }

  /** For the earliest lease: with prompt handlers it rings once per lease time, however many records pass. */
  #arm(atMs: number): void {
    this.#cancelAlarm?.();
    this.#cancelAlarm = undefined;
    this.#nextExpiryMs = atMs;
    if (atMs === Infinity) return;
    const { runtime } = this.#leases;
    const ring = () => {
      this.#cancelAlarm = undefined;
      // n.b. a timer may ring a moment early; then nothing is due yet.
      if (runtime.monotonicMs() < atMs) this.#arm(atMs);
      else this.expire();
    };
    this.#cancelAlarm = runtime.timer(Math.max(0, atMs - runtime.monotonicMs()), ring, { background: true });
  }
}
