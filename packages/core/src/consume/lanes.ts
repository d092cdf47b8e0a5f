import type { Work } from "./work.ts";

/** Messages of one key, one after another: a linked list per key, and nothing for a key without waiting messages. */
export class Lanes {
  readonly #last = new Map<string, Work>();

  /** `true`: it may run now. `false`: it waits behind others of its key, and `leave` will name it. */
  enter(work: Work): boolean {
    if (work.lane === undefined) return true;
    const before = this.#last.get(work.lane);
    this.#last.set(work.lane, work);
    if (before === undefined) return true;
    before.next = work;
    return false;
  }

  /** The message that may run now because this one left. A second call does nothing. */
  leave(work: Work): Work | undefined {
    if (work.lane === undefined) return undefined;
    const { next, lane } = work;
    work.next = undefined;
    work.lane = undefined;
    // n.b. One that never entered (nobody wants it) must not open the lane of the others.
    if (next === undefined && this.#last.get(lane) === work) this.#last.delete(lane);
    return next;
  }

  /** Forgets every waiting message; those that remain (they run, or are leaving) keep their lanes closed. */
  reset(remaining: Iterable<Work>): void {
    this.#last.clear();
    for (const work of remaining) {
      work.next = undefined;
      if (work.lane !== undefined) this.#last.set(work.lane, work);
    }
  }

  /** Keys with at least one message. */
  get size(): number {
    return this.#last.size;
  }
}
