import type { Delivery, Receiver } from "../driver/index.ts";
import type { ShardHolds } from "./shard-holds.ts";
import type { Work } from "./work.ts";

/** Everything that the engine holds, and how much that is. */
export class Held {
  readonly #works = new Map<Delivery, Work>();
  /** Only with ordering: without it nothing piles up behind a waiting message. */
  readonly #holds: ShardHolds | undefined;
  #bytes = 0;

  constructor(holds?: ShardHolds) {
    this.#holds = holds;
  }

  get size(): number {
    return this.#works.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(work: Work): void {
    this.#works.set(work.delivery, work);
    this.#bytes += work.bytes;
    this.#holds?.add(work);
  }

  get(delivery: Delivery): Work | undefined {
    return this.#works.get(delivery);
  }

  /** A second call does nothing. */
  remove(work: Work): void {
    if (!this.#works.delete(work.delivery)) return;
    this.#bytes -= work.bytes;
    this.#holds?.remove(work);
  }

  of(receiver: Receiver): Work[] {
    return [...this.#works.values()].filter((work) => work.receiver === receiver);
  }

  /** Not running, and not on its way out. */
  waiting(): Work[] {
    return [...this.#works.values()].filter((work) => work.state === "waiting" || work.state === "pausing");
  }
}
