import type { Delivery, Source } from "@sluice/core/driver";
import type { ClientRecord, CommitPosition } from "./client.ts";
import { type Stretch, countStart, encodeJournal, startsAt } from "./journal.ts";
import { PrefixTracker, type Tracked } from "./offsets.ts";
import { fromKafka } from "./record.ts";

/** A record that was read and is not behind the position yet. */
export interface Entry extends Tracked {
  readonly record: ClientRecord;
  readonly bytes: number;
  /** Wall milliseconds before which it may not be handed out; 0 = at once. */
  readonly due: number;
  delivery: Delivery | undefined;
}

/** Where a holder begins, as read from the last commit. */
export interface Begin {
  readonly position: number;
  readonly starts: readonly Stretch[];
  /** Behind the position, and finished by an earlier holder. */
  readonly finished: readonly number[];
  readonly epoch: number;
  readonly born: number;
}

/** Bytes that wait in all partitions of a member together. */
export interface Load {
  bytes: number;
}

export interface ShardOptions {
  readonly window: number;
  /** Whether deliveries are counted and fenced: not for broadcasts, which commit nothing. */
  readonly counted: boolean;
  readonly load: Load;
}

/** One partition while it is ours: what was read, what runs, what may be committed. */
export class Shard {
  readonly id: string;
  readonly source: Source;
  readonly topic: string;
  readonly partition: number;
  /** Offset from which on nothing is handed out; a finite source ends there. */
  readonly until: number;
  readonly out: Map<Delivery, Entry> = new Map();
  /** False until its position is fixed and written down. */
  ready = false;
  held = false;
  /** Whether the client was told to fetch nothing from it. */
  paused = false;
  /** The client's position was out of range: the next batch may begin anywhere. */
  moved = false;
  /** Something else than the position must be committed: the start mark. */
  dirty = true;
  committed: number;
  readonly counted: boolean;
  readonly #begin: Begin;
  readonly #fence: bigint | undefined;
  readonly #window: number;
  readonly #load: Load;
  readonly #tracker: PrefixTracker<Entry>;
  readonly #finished: Set<number>;
  /** In the order of hand-out: by due time, then by offset. */
  #waiting: (Entry | undefined)[] = [];
  #head = 0;
  #bytes = 0;
  /** Position of the last commit that was begun. */
  #asked: number;
  /** First offset that the last stored commit does not cover as started: nothing from there on is handed out. */
  #limit = 0;
  /** In a probe: the offset behind the one record that is to be covered next. */
  #wanted = 0;

  constructor(
    place: {
      readonly id: string;
      readonly source: Source;
      readonly topic: string;
      readonly partition: number;
      readonly until: number;
    },
    begin: Begin,
    options: ShardOptions,
  ) {
    this.id = place.id;
    this.source = place.source;
    this.topic = place.topic;
    this.partition = place.partition;
    this.until = place.until;
    this.#begin = begin;
    this.#finished = new Set(begin.finished);
    this.#window = options.window;
    this.counted = options.counted;
    this.#fence = options.counted ? BigInt(begin.epoch) : undefined;
    this.#load = options.load;
    this.#asked = begin.position;
    this.#tracker = new PrefixTracker(begin.position);
    this.committed = begin.position;
  }

  get next(): number {
    return this.#tracker.next;
  }

  get position(): number {
    return this.#tracker.position;
  }

  /** Records read and not handed out, and their bytes. */
  get waiting(): number {
    return this.#waiting.length - this.#head;
  }

  /** So much was finished since the last commit was begun that the next should begin, long before the window is used up. */
  get ripe(): boolean {
    return this.position - this.#asked >= this.#window / 4;
  }

  /** A finite source has handed out everything below `until`. */
  get exhausted(): boolean {
    return this.ready && this.waiting === 0 && this.next >= this.until;
  }

  /** Takes a record in, unless it was read before or lies behind the end. */
  add(record: ClientRecord, due: number): void {
    const offset = Number(record.offset);
    if (offset >= this.until) return this.reach(this.until);
    const bytes = (record.value?.length ?? 0) + (record.key?.length ?? 0);
    const entry: Entry = { offset, done: false, record, bytes, due, delivery: undefined };
    if (!this.#tracker.add(entry)) return;
    if (this.#finished.delete(offset)) return this.#tracker.finish(entry);
    this.#weigh(bytes);
    let at = this.#waiting.length;
    while (at > this.#head && (this.#waiting[at - 1]?.due ?? 0) > due) at -= 1;
    if (at === this.#waiting.length) this.#waiting.push(entry);
    else this.#waiting.splice(at, 0, entry);
  }

  /** Nothing more is below `offset`: compacted, control records, or the end. */
  reach(offset: number): void {
    this.#tracker.reach(Math.min(offset, this.until));
  }

  /** When the first waiting record may be handed out: wall milliseconds, `undefined` when none waits. */
  get nextDue(): number | undefined {
    return this.#waiting[this.#head]?.due;
  }

  /** A record is held up only by a commit that is not stored yet. */
  get needsCommit(): boolean {
    const entry = this.#waiting[this.#head];
    return entry !== undefined && entry.offset >= this.#limit && (this.position > this.committed || this.wanted);
  }

  /** In a probe: a record is being marked, and not handed out yet. */
  get wanted(): boolean {
    return this.#wanted > this.position;
  }

  /** In a probe: asks for the mark of the next record, and no other. False when there is none to try. */
  want(now: number): boolean {
    const entry = this.#waiting[this.#head];
    if (!entry || !this.ready || this.held || entry.due > now) return false;
    if (this.#wanted <= entry.offset) this.dirty = true;
    this.#wanted = entry.offset + 1;
    return true;
  }

  /** The next record, unless it is not due or lies outside of the window behind the committed offset. */
  take(now: number): Delivery | undefined {
    const entry = this.#waiting[this.#head];
    if (!entry || !this.ready || this.held || entry.due > now || entry.offset >= this.#limit) return undefined;
    this.#waiting[this.#head] = undefined;
    this.#head += 1;
    this.#weigh(-entry.bytes);
    if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    const delivery = fromKafka(entry.record, this, {
      source: this.source,
      shard: this.id,
      deliveries: this.counted ? 1 + startsAt(this.#begin.starts, entry.offset) : undefined,
      fence: this.#fence,
    });
    entry.delivery = delivery;
    this.out.set(delivery, entry);
    return delivery;
  }

  /** Deliveries that could be accepted next without a gap, as long as each is wanted. */
  prefix(wanted: (delivery: Delivery) => boolean): readonly Delivery[] {
    const entries = this.#tracker.prefix(({ delivery }) => delivery !== undefined && wanted(delivery));
    return entries.flatMap(({ done, delivery }) => (done || !delivery ? [] : [delivery]));
  }

  /** Whether one that was handed out here comes after another, or is it. */
  isBehind(delivery: Delivery, other: Delivery): boolean {
    return (this.out.get(delivery)?.offset ?? -1) >= (this.out.get(other)?.offset ?? Number.POSITIVE_INFINITY);
  }

  /** False when it is not ours or was settled before. */
  accept(delivery: Delivery): boolean {
    const entry = this.out.get(delivery);
    if (!entry) return false;
    this.out.delete(delivery);
    this.#tracker.finish(entry);
    // Also behind an unfinished one: the journal tells it.
    this.dirty = true;
    return true;
  }

  /** Forgets what core never saw. */
  dropWaiting(): void {
    this.#waiting = [];
    this.#head = 0;
    this.#weigh(-this.#bytes);
    this.#tracker.forget((entry) => entry.done || entry.delivery !== undefined);
  }

  /**
   * What a commit says now. Unless `clean`, everything that may be handed out until the next commit is marked as started, so that
   * the next holder can count what a crash interrupted.
   */
  commitPosition(clean: boolean): CommitPosition & { readonly upto: number } {
    const offset = this.position;
    this.#asked = offset;
    const { epoch, born, starts } = this.#begin;
    // A probe marks the one record that it tries: a mark on others would count its crash against them.
    const covered = this.#window === 1 ? this.#wanted : offset + this.#window;
    const upto = clean ? offset : Math.max(offset, covered);
    const finished = [...this.#tracker.finishedAhead(), ...this.#finished].filter((one) => one >= offset);
    const metadata = encodeJournal({ epoch, born, starts: countStart(starts, offset, upto), finished });
    return { topic: this.topic, partition: this.partition, offset, metadata, upto };
  }

  /** The commit is stored: the window moves on. */
  stored({ offset, upto }: { readonly offset: number; readonly upto: number }): void {
    this.committed = Math.max(this.committed, offset);
    this.#limit = upto;
  }

  #weigh(bytes: number): void {
    this.#bytes += bytes;
    this.#load.bytes += bytes;
  }
}
