import { DriverError } from "@sluice/core/driver";
import type { Filter } from "@sluice/core/driver";
import { matches } from "./filter.ts";
import { hashKey } from "./record.ts";
import type { Entry, Home, MemoryMessage, StoredRecord } from "./record.ts";
import { makeShard, spread } from "./shards.ts";
import type { Shard } from "./shards.ts";

/** What a mailbox needs to know of a receiver. */
export interface Member {
  readonly ordered: boolean;
  /** Asks for records now and has room for them. */
  readonly hungry: boolean;
  /** Something may be ready. */
  wake(): void;
  /** The shard is not this member's any more. */
  forgetHold(shard: string): void;
}

/** Where a receiver takes its entries from: its seat at a mailbox, or a snapshot of dead letters. */
export interface Feed {
  /** Nothing will ever come again. */
  readonly ended: boolean;
  /** The next entry that is not of a held shard. */
  take(held: ReadonlySet<string>): Entry | undefined;
  /** Most entries to take in one go, so that members that wait at the same time all get some. */
  share(): number;
  shardName(entry: Entry): string;
  fence(entry: Entry): bigint | undefined;
  /** The shard of this entry was lost by its holder. */
  renumber(entry: Entry): void;
  /** No more intake. Shards go on as soon as nothing of them is unsettled. */
  stop(): void;
  /** Only after every entry was accepted or given back. `broken`: the connection was cut. */
  leave(broken: boolean): void;
}

/** Everything that waits for one group, or for one broadcast instance: shards, each with two queues, and who reads them. */
export class Mailbox implements Home {
  readonly shards: readonly Shard<Seat>[];
  ready = 0;
  inFlight = 0;
  readonly #ordered: boolean;
  readonly #abandoned: ((broken: boolean) => void) | undefined;
  readonly #seats = new Set<Seat>();
  #filter: Filter | undefined;
  #sequence = 0;

  /** @param abandoned called when the last reader left; a group stays */
  constructor(names: readonly string[], ordered: boolean, abandoned?: (broken: boolean) => void) {
    this.#ordered = ordered;
    this.#abandoned = abandoned;
    this.shards = names.map((name) => makeShard(name));
  }

  get seats(): ReadonlySet<Seat> {
    return this.#seats;
  }

  /** The filter belongs to the group, as with a broker's subscription: the newest one holds, also for what waits already. */
  setFilter(filter: Filter | undefined): void {
    this.#filter = filter;
    if (filter === undefined) return;
    for (const shard of this.shards) {
      for (const entry of shard.topic.drain()) {
        if (matches(filter, entry.record.headers)) shard.topic.append(entry, this.#priority(entry));
        else this.ready--;
      }
    }
  }

  add(record: StoredRecord, native: MemoryMessage, own: boolean): void {
    if (!own && !matches(this.#filter, record.headers)) return;
    const sequence = ++this.#sequence;
    const { key } = record;
    const shards = this.shards.length;
    const index = shards === 1 ? 0 : (key === null ? sequence : hashKey(key)) % shards;
    const entry: Entry = { record, home: this, shard: index, own, sequence, native, deliveries: 0, leaseUntilMs: 0 };
    const shard = this.#shard(index);
    this.ready++;
    (own ? shard.own : shard.topic).append(entry, this.#priority(entry));
    this.#wake(shard);
  }

  accept(entry: Entry): void {
    this.inFlight--;
    this.#settled(this.#shard(entry.shard));
  }

  giveBack(entry: Entry, counted: boolean): void {
    if (!counted) entry.deliveries--;
    const shard = this.#shard(entry.shard);
    this.inFlight--;
    this.ready++;
    (entry.own ? shard.own : shard.topic).putBack(entry, this.#priority(entry));
    this.#settled(shard);
    this.#wake(shard);
  }

  /** The holder lost the shard's lease: whoever reads on, also the same one, does so under a new fence. */
  renumber(index: number): void {
    this.#shard(index).fence++;
  }

  /** Throws `MISMATCH` when the topic has no shards to share out, `BUSY` while members read it in the other way. */
  checkMode(ordered: boolean, group: string): void {
    if (ordered && !this.#ordered) {
      const message = `memory: ${group} cannot be read in order; declare its topic as ordered, or read without an order`;
      throw new DriverError("MISMATCH", message);
    }
    for (const { member } of this.#seats) {
      if (member.ordered === ordered) continue;
      const now = member.ordered ? "in order" : "without an order";
      throw new DriverError(
        "BUSY",
        `memory: ${group} is being read ${now}; read it in the same way, or stop the others`,
      );
    }
  }

  join(member: Member): Seat {
    const seat = new Seat(this, member);
    this.#seats.add(seat);
    this.assign();
    return seat;
  }

  leave(seat: Seat, broken: boolean): void {
    this.#seats.delete(seat);
    this.assign();
    if (this.#seats.size === 0) this.#abandoned?.(broken);
  }

  /** All that is ready, what came through the topic first. */
  waiting(): Entry[] {
    return [...this.shards.flatMap(({ topic }) => topic.entries()), ...this.shards.flatMap(({ own }) => own.entries())];
  }

  /** When the oldest waiting record was stored, wall milliseconds. */
  oldestMs(): number | undefined {
    const times = this.shards.flatMap(({ topic, own }) => [topic.oldest(), own.oldest()]);
    const known = times.filter((entry) => entry !== undefined).map((entry) => entry.native.storedAtMs);
    return known.length === 0 ? undefined : Math.min(...known);
  }

  /** After a member joined, stopped or left. */
  assign(): void {
    const seats = [...this.#seats].filter(({ active, member }) => active && member.ordered);
    spread(this.shards, seats);
    for (const shard of this.shards) this.#handOver(shard);
  }

  #settled(shard: Shard<Seat>): void {
    shard.unsettled--;
    this.#handOver(shard);
  }

  /** n.b. never while something of the shard is unsettled: two holders at a time would reorder the records of a key. */
  #handOver(shard: Shard<Seat>): void {
    if (shard.holder === shard.next || shard.unsettled > 0) return;
    shard.holder?.member.forgetHold(shard.name);
    shard.holder = shard.next;
    if (shard.holder === undefined) return;
    shard.fence++;
    shard.holder.member.wake();
  }

  #wake(shard: Shard<Seat>): void {
    if (shard.holder !== undefined) shard.holder.member.wake();
    else for (const seat of this.#seats) seat.member.wake();
  }

  /** In an ordered topic a priority would let one record of a key overtake another. */
  #priority(entry: Entry): number {
    return this.#ordered ? 0 : entry.record.priority;
  }

  #shard(index: number): Shard<Seat> {
    return this.shards[index] as Shard<Seat>; // in bounds: made by a modulo of the length
  }
}

/** One member's place at a mailbox. */
export class Seat implements Feed {
  readonly ended = false;
  readonly member: Member;
  active = true;
  readonly #mailbox: Mailbox;
  /** Own cursors per member: with shared ones two members could keep each other from ever looking at some shards. */
  #topicCursor = 0;
  #ownCursor = 0;
  #ownNext = false;

  constructor(mailbox: Mailbox, member: Member) {
    this.#mailbox = mailbox;
    this.member = member;
  }

  /** Topic and own entry take turns while both wait; so do the shards of each. */
  take(held: ReadonlySet<string>): Entry | undefined {
    const mailbox = this.#mailbox;
    if (!this.active || mailbox.ready === 0) return undefined;
    const entry = this.#from(this.#ownNext, held) ?? this.#from(!this.#ownNext, held);
    if (entry === undefined) return undefined;
    this.#ownNext = !entry.own;
    mailbox.ready--;
    mailbox.inFlight++;
    entry.deliveries++;
    return entry;
  }

  share(): number {
    if (this.member.ordered || this.#mailbox.seats.size === 1) return Infinity;
    let hungry = 0;
    for (const seat of this.#mailbox.seats) if (seat.active && seat.member.hungry) hungry++;
    return Math.ceil(this.#mailbox.ready / Math.max(1, hungry));
  }

  shardName(entry: Entry): string {
    return this.#mailbox.shards[entry.shard]?.name ?? "";
  }

  fence(entry: Entry): bigint | undefined {
    return this.member.ordered ? this.#mailbox.shards[entry.shard]?.fence : undefined;
  }

  renumber(entry: Entry): void {
    this.#mailbox.renumber(entry.shard);
  }

  stop(): void {
    if (!this.active) return;
    this.active = false;
    this.#mailbox.assign();
  }

  leave(broken: boolean): void {
    this.active = false;
    this.#mailbox.leave(this, broken);
  }

  #from(own: boolean, held: ReadonlySet<string>): Entry | undefined {
    const { shards } = this.#mailbox;
    const cursor = own ? this.#ownCursor : this.#topicCursor;
    for (let step = 0; step < shards.length; step++) {
      const index = (cursor + step) % shards.length;
      const shard = shards[index] as Shard<Seat>; // in bounds: a modulo of the length
      if (!this.#mayRead(shard) || held.has(shard.name)) continue;
      const entry = (own ? shard.own : shard.topic).shift();
      if (entry === undefined) continue;
      shard.unsettled++;
      if (own) this.#ownCursor = index + 1;
      else this.#topicCursor = index + 1;
      return entry;
    }
    return undefined;
  }

  #mayRead(shard: Shard<Seat>): boolean {
    return !this.member.ordered || (shard.holder === this && shard.next === this);
  }
}
