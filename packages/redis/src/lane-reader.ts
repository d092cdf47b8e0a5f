import type { ConnectContext, Delivery, ReceiverOptions, Runtime } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import { translate } from "./errors.ts";
import type { Holdings } from "./holdings.ts";
import type { Lane } from "./lanes.ts";
import type { Watcher } from "./poller.ts";
import { fromEntry } from "./record.ts";
import { type Claimed, claimedOf, type Entry, takenOf } from "./replies.ts";
import { claim, recover, take } from "./scripts/read.ts";
import type { Shard } from "./shards.ts";
import type { Together } from "./slots.ts";

export interface LaneReaderParts {
  readonly link: Link;
  readonly reader: Watcher;
  readonly runtime: Runtime;
  readonly options: ReceiverOptions;
  readonly group: string;
  readonly consumer: string;
  readonly leaseMs: number;
  readonly lanes: readonly Lane[];
  readonly holdings: Holdings;
  /** Earlier consumers of this process, whose entries are ours. */
  readonly orphans: Set<string>;
  /** Keys of one script call must be on one node: streams that may be touched together. */
  readonly together: Together;
  /** Removes a consumer that holds nothing from every stream; '' = all that have been idle for long. */
  readonly leave: (consumer: string) => Promise<void>;
  report: ConnectContext["report"];
  /** Ordered: the lease of this shard is not ours any more. */
  shardLost(shard: Shard): void;
}

/** Streams of one script call. */
const mostStreams = 256;
/** How often consumers are looked for that died without a word. */
const sweepMs = 600_000;
/** Where reading pending entries begins; an id with `(` in front means "after it". */
const beginning = "-";

/**
 * Decides what to read next, and reads it: entries of our earlier consumers, entries that others let idle, then new ones. Few
 * streams are read by one blocking command; with more streams than room, the blocking command only says where something is, and a
 * script takes no more than fits.
 */
export class LaneReader {
  readonly #parts: LaneReaderParts;
  readonly #onHold = new Set<string>();
  #claimAtMs: number;
  #next = 0;
  #reads = 0;
  #sweepAtMs: number;
  #stopped = false;
  #waiting: (() => void) | undefined;

  constructor(parts: LaneReaderParts) {
    this.#parts = parts;
    this.#claimAtMs = parts.runtime.monotonicMs();
    this.#sweepAtMs = this.#claimAtMs + sweepMs * parts.runtime.random();
  }

  /** There may be room, a shard, or an end: look again. */
  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  stop(): void {
    this.#stopped = true;
    this.#parts.reader.interrupt();
    this.wake();
  }

  hold(shards: readonly string[], on: boolean): void {
    for (const shard of shards) {
      if (on) this.#onHold.add(shard);
      else this.#onHold.delete(shard);
    }
    if (!on) this.#again();
  }

  /** Ordered: entries of former holders come first. */
  gained(shards: readonly Shard[]): void {
    for (const lane of this.#parts.lanes) {
      if (!lane.shard || !shards.includes(lane.shard)) continue;
      lane.recoverFrom = beginning;
      lane.dirty = true;
    }
    this.#again();
  }

  /** Ordered: what is still pending there comes again, before anything new. n.b. a lease that goes on never lets entries idle. */
  again(lanes: Iterable<Lane>): void {
    for (const lane of lanes) if (lane.shard) lane.recoverFrom = beginning;
    this.#again();
  }

  forgetHold(shards: readonly Shard[]): void {
    for (const lane of this.#parts.lanes)
      if (lane.shard && shards.includes(lane.shard)) this.#onHold.delete(lane.label);
  }

  #again(): void {
    this.#parts.reader.interrupt();
    this.wake();
  }

  /** One step: some deliveries, or none after a wait. */
  async read(max: number, ended: () => boolean): Promise<readonly Delivery[]> {
    const room = this.#room(max);
    const lanes = this.#readable();
    if (this.#parts.runtime.monotonicMs() >= this.#sweepAtMs) this.#sweep();
    if (room <= 0 || lanes.length === 0) {
      if (!this.#stopped && !ended()) await new Promise<void>((resolve) => (this.#waiting = resolve));
      return [];
    }
    const ordered = lanes[0]?.shard !== undefined;
    const old = ordered ? await this.#recover(lanes, room) : await this.#claim(lanes, room);
    if (old.length > 0 || this.#stopped) return old;
    if (!ordered && lanes.length <= room && this.#parts.together(lanes).length === 1)
      return this.#readDirectly(lanes, room);
    const dirty = lanes.filter((lane) => lane.dirty);
    if (dirty.length > 0) return this.#take(dirty, room);
    await this.#wait(lanes);
    return [];
  }

  #sweep(): void {
    this.#sweepAtMs = this.#parts.runtime.monotonicMs() + sweepMs * (0.5 + this.#parts.runtime.random());
    this.#forget("");
  }

  #room(max: number): number {
    const { holdings, options } = this.#parts;
    if (this.#stopped || (holdings.size > 0 && holdings.bytes >= options.windowBytes)) return 0;
    return Math.min(max, options.window - holdings.size);
  }

  #readable(): readonly Lane[] {
    return this.#parts.lanes.filter(
      ({ shard, label }) => (!shard || (shard.held && !shard.leaving)) && !this.#onHold.has(label),
    );
  }

  /** Ours from before, at once; what others let idle, now and then. */
  async #claim(lanes: readonly Lane[], room: number): Promise<readonly Delivery[]> {
    const { orphans, runtime, leaseMs } = this.#parts;
    for (const orphan of orphans) {
      const found = await this.#claimOf(lanes, room, orphan);
      if (found.length > 0) return found;
      orphans.delete(orphan);
      this.#forget(orphan);
    }
    if (runtime.monotonicMs() < this.#claimAtMs) return [];
    const found = await this.#claimOf(lanes, room, "");
    if (found.length === 0) this.#claimAtMs = runtime.monotonicMs() + (leaseMs / 4) * (0.75 + runtime.random() / 2);
    return found;
  }

  /** n.b. every connection that broke leaves a name behind, and every process that died. */
  #forget(consumer: string): void {
    this.#parts.leave(consumer).catch(() => undefined); // Only tidiness: it is tried again, here or elsewhere.
  }

  async #claimOf(lanes: readonly Lane[], room: number, orphan: string): Promise<readonly Delivery[]> {
    const { link, group, consumer, leaseMs } = this.#parts;
    const found: Delivery[] = [];
    for (const part of this.#portions(lanes)) {
      if (found.length >= room) break;
      const streams = part.map((lane) => lane.stream);
      const most = room - found.length;
      const answer = await link.run(`cannot claim for group "${group}"`, claim, streams, [
        group,
        consumer,
        leaseMs,
        most,
        orphan,
      ]);
      for (const row of claimedOf(answer).rows) found.push(...this.#claimed(part[row.stream], row));
    }
    return found;
  }

  async #recover(lanes: readonly Lane[], room: number): Promise<readonly Delivery[]> {
    const { link, group, consumer } = this.#parts;
    const found: Delivery[] = [];
    for (const lane of lanes) {
      while (lane.recoverFrom !== undefined && lane.shard?.held && found.length < room) {
        const most = room - found.length;
        const answer = await link.run(
          `cannot recover "${lane.stream}"`,
          recover,
          [lane.stream, lane.shard.lease],
          [group, consumer, most, lane.recoverFrom, ...lane.held],
        );
        if (!Array.isArray(answer)) {
          this.#parts.shardLost(lane.shard);
          break;
        }
        const { rows, next } = claimedOf(answer);
        lane.recoverFrom = next === "" ? undefined : next;
        for (const row of rows) found.push(...this.#claimed(lane, row));
      }
    }
    return found;
  }

  #claimed(lane: Lane | undefined, row: Claimed): readonly Delivery[] {
    if (!lane) return [];
    if (row.fields) return this.#deliver(lane, row, row.deliveries);
    const { report } = this.#parts;
    report({
      kind: "data-loss",
      source: lane.source,
      count: 1,
      detail: `redis: entry ${row.id} of "${lane.stream}" was deleted before group "${lane.source.group}" had settled it`,
    });
    return [];
  }

  async #readDirectly(all: readonly Lane[], room: number): Promise<readonly Delivery[]> {
    const { reader, group, consumer, runtime } = this.#parts;
    // n.b. COUNT is for each stream, so that quiet ones would take the room of busy ones: they are asked at every fourth read.
    const busy = all.filter((lane) => lane.busy);
    const some = busy.length > 0 && busy.length < all.length && this.#reads++ % 4 > 0;
    const lanes = some ? busy : all;
    const count = String(Math.floor(room / lanes.length));
    const command = ["xreadgroup", "GROUP", group, consumer, "COUNT", count];
    const streams = lanes.map((lane) => lane.stream);
    const ms = some ? 0 : this.#claimAtMs - runtime.monotonicMs();
    const found = await reader.read(
      `cannot read for group "${group}"`,
      command,
      streams,
      streams.map(() => ">"),
      ms,
    );
    const deliveries: Delivery[] = [];
    for (const lane of lanes) {
      lane.dirty = true;
      const entries = found?.get(lane.stream) ?? [];
      lane.busy = entries.length > 0;
      for (const entry of entries) deliveries.push(...this.#deliver(lane, entry, 1));
    }
    return deliveries;
  }

  async #take(dirty: readonly Lane[], room: number): Promise<readonly Delivery[]> {
    const { link, group, consumer } = this.#parts;
    const found: Delivery[] = [];
    // Each gets its turn: where the last read ended, the next one begins.
    this.#next %= dirty.length;
    const turned = [...dirty.slice(this.#next), ...dirty.slice(0, this.#next)].slice(0, room);
    this.#next += turned.length;
    for (const part of this.#portions(turned)) {
      const left = room - found.length;
      if (left <= 0) break;
      const keys = [...part.map((lane) => lane.stream), ...part.map((lane) => lane.shard?.lease ?? lane.stream)];
      const answers = takenOf(await link.run(`cannot read for group "${group}"`, take, keys, [group, consumer, left]));
      for (const [index, lane] of part.entries()) {
        const answer = answers[index];
        if (!answer) continue;
        if ("lost" in answer) {
          if (lane.shard) this.#parts.shardLost(lane.shard);
          continue;
        }
        if ("error" in answer) throw translate(new Error(answer.error), `cannot read "${lane.stream}"`);
        for (const entry of answer.entries) found.push(...this.#deliver(lane, entry, 1));
        if (answer.position === "") continue;
        lane.dirty = false;
        lane.seen = answer.position;
      }
    }
    return found;
  }

  /** Until something is in one of the streams; nobody takes it by that. */
  async #wait(lanes: readonly Lane[]): Promise<void> {
    const { reader, group, runtime } = this.#parts;
    const ms = lanes[0]?.shard ? Infinity : this.#claimAtMs - runtime.monotonicMs();
    const streams = lanes.map((lane) => lane.stream);
    const found = await reader.read(
      `cannot wait for group "${group}"`,
      ["xread", "COUNT", "1"],
      streams,
      lanes.map((lane) => lane.seen),
      ms,
    );
    // Nothing for a while: somebody may have moved the group back, which wakes nobody.
    for (const lane of lanes) if (!found || found.has(lane.stream)) lane.dirty = true;
  }

  #portions(lanes: readonly Lane[]): readonly (readonly Lane[])[] {
    return this.#parts.together(lanes).flatMap((part) => {
      const portions: Lane[][] = [];
      for (let index = 0; index < part.length; index += mostStreams)
        portions.push(part.slice(index, index + mostStreams));
      return portions;
    });
  }

  #deliver(lane: Lane, entry: Entry, deliveries: number): readonly Delivery[] {
    // One that we hold already was claimed from ourselves. A shard that was given up while we read belongs to its next holder, who
    // gets the entry as one that was left behind.
    if (!entry.fields || lane.held.has(entry.id) || lane.shard?.held === false) return [];
    const { holdings, runtime, leaseMs } = this.#parts;
    const delivery = fromEntry(entry.id, entry.fields, {
      source: lane.source,
      stream: lane.stream,
      shard: lane.label,
      deliveries,
      fence: lane.shard?.fence,
    });
    holdings.add(delivery, { lane, id: entry.id, deliveries, leaseUntilMs: runtime.monotonicMs() + leaseMs });
    return [delivery];
  }
}
