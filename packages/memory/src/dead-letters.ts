import type { Feed } from "./mailbox.ts";
import type { Entry, Home, MemoryMessage, StoredRecord } from "./record.ts";

/** The dead letters of one group, in the order in which they were given up. */
export class DeadLetters implements Home {
  /** By sequence. Accepted ones stay as holes until half of the list is holes, so that an index is found by bisection. */
  #entries: Entry[] = [];
  readonly #gone = new Set<number>();
  readonly #held = new Set<number>();
  #sequence = 0;

  get ready(): number {
    return this.#entries.length - this.#gone.size - this.#held.size;
  }

  get inFlight(): number {
    return this.#held.size;
  }

  get last(): number {
    return this.#sequence;
  }

  add(record: StoredRecord, native: MemoryMessage): void {
    const sequence = ++this.#sequence;
    this.#entries.push({ record, home: this, shard: 0, own: true, sequence, native, deliveries: 0, leaseUntilMs: 0 });
  }

  accept(entry: Entry): void {
    this.#held.delete(entry.sequence);
    this.#gone.add(entry.sequence);
    if (this.#gone.size > 64 && this.#gone.size * 2 > this.#entries.length) {
      this.#entries = this.#entries.filter(({ sequence }) => !this.#gone.has(sequence));
      this.#gone.clear();
    }
  }

  giveBack(entry: Entry, counted: boolean): void {
    if (!counted) entry.deliveries--;
    this.#held.delete(entry.sequence);
  }

  hold(entry: Entry): void {
    this.#held.add(entry.sequence);
    entry.deliveries++;
  }

  /** The first waiting entry after a sequence, up to and with another one. */
  next(after: number, upTo: number): Entry | undefined {
    const entries = this.#entries;
    let low = 0;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((entries[middle]?.sequence ?? Infinity) <= after) low = middle + 1;
      else high = middle;
    }
    for (let index = low; index < entries.length; index++) {
      const entry = entries[index] as Entry; // in bounds
      if (entry.sequence > upTo) return undefined;
      if (!this.#gone.has(entry.sequence) && !this.#held.has(entry.sequence)) return entry;
    }
    return undefined;
  }

  waiting(): Entry[] {
    return this.#entries.filter(({ sequence }) => !this.#gone.has(sequence) && !this.#held.has(sequence));
  }

  /** When the oldest waiting one was stored, wall milliseconds. */
  oldestMs(): number | undefined {
    return this.next(0, Infinity)?.native.storedAtMs;
  }
}

/** What was there when it was opened, each entry once: also one that comes back, or a redrive that fails would never end. */
export class Snapshot implements Feed {
  readonly #deadLetters: DeadLetters;
  readonly #last: number;
  #position = 0;
  #ended = false;

  constructor(deadLetters: DeadLetters) {
    this.#deadLetters = deadLetters;
    this.#last = deadLetters.last;
    this.#ended = deadLetters.next(0, this.#last) === undefined;
  }

  get ended(): boolean {
    return this.#ended;
  }

  take(): Entry | undefined {
    const entry = this.#ended ? undefined : this.#deadLetters.next(this.#position, this.#last);
    if (entry === undefined) {
      this.#ended = true;
      return undefined;
    }
    this.#position = entry.sequence;
    this.#deadLetters.hold(entry);
    return entry;
  }

  share(): number {
    return Infinity;
  }

  shardName(): string {
    return "";
  }

  fence(): undefined {
    return undefined;
  }

  renumber(): void {}

  stop(): void {
    this.#ended = true;
  }

  leave(): void {
    this.#ended = true;
  }
}
