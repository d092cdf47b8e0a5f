import type { Delivery } from "@sluice/core/driver";
import type { Lane } from "./lanes.ts";

/** What a receiver knows of a delivery that is not settled. */
export interface Held {
  readonly lane: Lane;
  readonly id: string;
  /** The server's own count, this hand-out included. */
  readonly deliveries: number;
  leaseUntilMs: number;
}

/** Everything that a receiver has from the server and has not settled. */
export class Holdings {
  readonly #held = new Map<Delivery, Held>();
  bytes = 0;

  get size(): number {
    return this.#held.size;
  }

  add(delivery: Delivery, held: Held): void {
    this.#held.set(delivery, held);
    this.bytes += delivery.body?.byteLength ?? 0;
    held.lane.held.add(held.id);
    if (held.lane.shard) held.lane.shard.count++;
  }

  get(delivery: Delivery): Held | undefined {
    return this.#held.get(delivery);
  }

  /** n.b. says nothing to the shard: who calls does, when the server knows. */
  remove(delivery: Delivery): Held | undefined {
    const held = this.#held.get(delivery);
    if (!held) return undefined;
    this.#held.delete(delivery);
    this.bytes -= delivery.body?.byteLength ?? 0;
    held.lane.held.delete(held.id);
    return held;
  }

  /** All, or those of some lanes, in the order in which they came. */
  of(belongs: (held: Held) => boolean = () => true): readonly Delivery[] {
    const found: Delivery[] = [];
    for (const [delivery, held] of this.#held) if (belongs(held)) found.push(delivery);
    return found;
  }
}
