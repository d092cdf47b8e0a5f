import type { Receiver } from "../driver/index.ts";
import type { Work } from "./work.ts";

interface Share {
  count: number;
  held: boolean;
}

/**
 * Keeps one shard from filling the window: a key that waits for its retry lets the later ones of its key pile up, and the other
 * shards would stop with it. Above half of the window the shard's intake is held, below a quarter it goes on.
 */
export class ShardHolds {
  readonly #high: number;
  readonly #low: number;
  readonly #shares = new WeakMap<Receiver, Map<string, Share>>();

  constructor(window: number) {
    this.#high = Math.max(1, Math.floor(window / 2));
    this.#low = Math.floor(window / 4);
  }

  add(work: Work): void {
    const share = this.#share(work);
    share.count++;
    if (share.held || share.count < this.#high) return;
    share.held = true;
    work.receiver.hold?.([work.delivery.shard], true);
  }

  remove(work: Work): void {
    const share = this.#share(work);
    share.count--;
    if (share.held && share.count <= this.#low) {
      share.held = false;
      work.receiver.hold?.([work.delivery.shard], false);
    }
    // n.b. Where a shard is a key there are as many as keys: none may stay.
    if (share.count === 0) this.#shares.get(work.receiver)?.delete(work.delivery.shard);
  }

  #share({ receiver, delivery }: Work): Share {
    let shares = this.#shares.get(receiver);
    if (!shares) this.#shares.set(receiver, (shares = new Map()));
    let share = shares.get(delivery.shard);
    if (!share) shares.set(delivery.shard, (share = { count: 0, held: false }));
    return share;
  }
}
