/** One record between the committed offset and the head of what was read. */
export interface Tracked {
  readonly offset: number;
  done: boolean;
}

/**
 * What one partition may commit: the longest prefix of finished records, in the order in which they were read. Offsets may
 * have gaps (compaction, control records), so contiguity is over what was read, not over numbers.
 */
export class PrefixTracker<T extends Tracked> {
  /** What is behind the position is let go: its record would keep a whole fetch answer in memory. */
  #entries: (T | undefined)[] = [];
  #head = 0;
  /** Finished ones among those that are not behind the position. */
  #ahead = 0;
  #next: number;

  constructor(start: number) {
    this.#next = start;
  }

  /** The first offset that was not read yet. */
  get next(): number {
    return this.#next;
  }

  /** Everything below is finished: what a commit may say. */
  get position(): number {
    return this.#entries[this.#head]?.offset ?? this.#next;
  }

  /** Records read and not yet behind the position. */
  get size(): number {
    return this.#entries.length - this.#head;
  }

  /** False for a record that was read before: still running, or finished. */
  add(entry: T): boolean {
    if (entry.offset < this.#next) return false;
    this.#entries.push(entry);
    this.#next = entry.offset + 1;
    return true;
  }

  /** There is nothing more below `offset`, although no record said so. */
  reach(offset: number): void {
    if (offset > this.#next) this.#next = offset;
  }

  finish(entry: T): void {
    if (entry.done) return;
    entry.done = true;
    this.#ahead += 1;
    while (this.#entries[this.#head]?.done) {
      this.#entries[this.#head] = undefined;
      this.#head += 1;
      this.#ahead -= 1;
    }
    if (this.#head === this.#entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  /** What could be finished next without a gap: the first entries, as long as each is wanted. */
  prefix(wanted: (entry: T) => boolean): T[] {
    const found: T[] = [];
    for (let index = this.#head; index < this.#entries.length; index += 1) {
      const entry = this.#entries[index];
      if (!entry || !(entry.done || wanted(entry))) break;
      found.push(entry);
    }
    return found;
  }

  /** Finished records behind the position, which no offset can tell; in order. */
  finishedAhead(): number[] {
    const ahead: number[] = [];
    for (let index = this.#head; ahead.length < this.#ahead; index += 1) {
      const entry = this.#entries[index];
      if (entry?.done) ahead.push(entry.offset);
    }
    return ahead;
  }

  /** Forgets what was read behind the last entry that `keep` wants; it will be read again. Resolves to the new `next`. */
  forget(keep: (entry: T) => boolean): number {
    let last = this.#entries.length;
    while (last > this.#head) {
      const entry = this.#entries[last - 1];
      if (entry && keep(entry)) break;
      last -= 1;
    }
    const dropped = this.#entries[last];
    if (dropped) this.#next = dropped.offset;
    this.#entries.length = last;
    return this.#next;
  }
}
