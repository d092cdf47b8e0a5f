import {
  type CommitResult,
  type Delivery,
  DriverError,
  type Receiver,
  type ReceiverOptions,
  type SettleResult,
  type Settlement,
  type Unit,
} from "@sluice/core/driver";
import { translate } from "./errors.ts";
import { Holdings } from "./holdings.ts";
import type { Lane } from "./lanes.ts";
import { LaneReader, type LaneReaderParts } from "./lane-reader.ts";
import { commitUnit, type MovesContext } from "./moves.ts";
import { giveBackAll, giveUpShards, renewAll, settleAll } from "./settling.ts";
import type { Shard, ShardSet } from "./shards.ts";
import type { Stores } from "./stores.ts";
import type { Topics } from "./topics.ts";
import { settled, unlessAborted } from "./waiting.ts";

export interface GroupReceiverParts extends Omit<LaneReaderParts, "holdings" | "shardLost"> {
  readonly options: ReceiverOptions;
  /** Ordered: one per topic, with the lanes of each. */
  readonly shardSets: readonly ShardSet[];
  readonly stores: Stores;
  readonly topics: Topics;
  readonly delayed: (topic: string, ms: number) => void;
  /** Something was settled: its topic may be trimmed. */
  settled(lane: Lane): void;
  /** What we held under our name stays ours: the next receiver takes it over at once. */
  abandoned(consumer: string): void;
}

/** Reads the streams of a group: topics and own entries, in one read. A failed socket finishes it; the connection lives on. */
export class GroupReceiver implements Receiver {
  readonly lease: { readonly ms: number; readonly renew: true; readonly holdMs: number };
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: GroupReceiverParts;
  readonly #holdings = new Holdings();
  readonly #lanes: LaneReader;
  readonly #buffer: Delivery[] = [];
  #reading: Promise<void> | undefined;
  #cancelExpiry: (() => void) | undefined;
  #stopping: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #finished = false;

  constructor(parts: GroupReceiverParts) {
    this.#parts = parts;
    this.lease = { ms: parts.leaseMs, renew: true, holdMs: Infinity };
    this.closed = this.#settled.promise;
    this.#lanes = new LaneReader({
      ...parts,
      holdings: this.#holdings,
      shardLost: (shard) => {
        shard.held = false;
        this.lose([shard]);
      },
    });
    void parts.reader.closed.then((reason) => reason && this.fail(reason));
    void parts.link.closed.then((reason) => reason && this.fail(reason));
    if (parts.shardSets.length === 0) this.#watchLeases();
  }

  /** Ordered: the first shards are ours. @throws DriverError */
  async start(): Promise<void> {
    await Promise.all(this.#parts.shardSets.map((set) => set.start()));
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[]> {
    for (;;) {
      const taken = this.#buffer.splice(0, max);
      if (taken.length > 0 || signal.aborted || this.#ended) return taken;
      // n.b. a read is never cancelled: what it brings is assigned to us, and goes to the next call.
      this.#reading ??= this.#read(max).finally(() => (this.#reading = undefined));
      await unlessAborted(this.#reading, signal);
    }
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    try {
      return await settleAll(this.#context, settlements);
    } finally {
      this.#lanes.wake();
    }
  }

  async flush(_signal: AbortSignal): Promise<void> {
    // Every settlement is answered by the server before `settle` resolves.
  }

  async extend(deliveries: readonly Delivery[], ms: number): Promise<readonly Delivery[]> {
    const lost = await renewAll(this.#context, deliveries, ms);
    for (const delivery of lost) this.#forget(delivery);
    this.#lanes.wake();
    return lost;
  }

  hold(shards: readonly string[], on: boolean): void {
    this.#lanes.hold(shards, on);
  }

  async commit(units: readonly Unit[]): Promise<readonly CommitResult[]> {
    const results = await Promise.all(units.map((unit) => commitUnit(this.#context, unit)));
    for (const [index, { accept }] of units.entries()) {
      if (results[index] === "durable" || results[index] === "lost")
        for (const delivery of accept) this.#forget(delivery);
    }
    if (results.includes("unknown")) this.fail(untold());
    this.#lanes.wake();
    return results;
  }

  stop(_signal: AbortSignal): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  /** These shards are somebody else's: nothing of them is settled by us. */
  lose(shards: readonly Shard[]): void {
    const gone = this.#holdings.of(({ lane }) => lane.shard !== undefined && shards.includes(lane.shard));
    this.#lose(gone, "revoked");
    this.#lanes.forgetHold(shards);
  }

  /** Ordered: new shards to read. */
  gained(shards: readonly Shard[]): void {
    this.#lanes.gained(shards);
  }

  /** Ordered: nothing of them is in hand any more. */
  async release(shards: readonly Shard[]): Promise<void> {
    for (const shard of shards) shard.held = false;
    try {
      await giveUpShards(this.#context, shards, [], false);
    } catch (error) {
      this.fail(translate(error, "cannot give shards up"));
    }
  }

  fail(error: DriverError): void {
    if (this.#finished) return;
    this.#parts.abandoned(this.#parts.consumer);
    this.#lose(this.#holdings.of(), "disconnected");
    this.#finish(error);
  }

  get #ended(): boolean {
    return this.#finished || this.#stopping !== undefined || this.#closing !== undefined;
  }

  get #context(): MovesContext {
    const { link, group, consumer, leaseMs, runtime, shardSets, stores, topics, delayed, together } = this.#parts;
    const done = (delivery: Delivery) => this.#forget(delivery);
    const again = (lanes: Iterable<Lane>) => this.#lanes.again(lanes);
    return {
      link,
      group,
      consumer,
      leaseMs,
      runtime,
      shardSets,
      stores,
      topics,
      delayed,
      together,
      holdings: this.#holdings,
      done,
      again,
    };
  }

  async #read(max: number): Promise<void> {
    try {
      this.#buffer.push(...(await this.#lanes.read(max, () => this.#ended)));
    } catch (error) {
      this.fail(translate(error, "cannot read"));
    }
  }

  #forget(delivery: Delivery): void {
    const held = this.#holdings.remove(delivery);
    if (!held) return;
    this.#parts.settled(held.lane);
    const { shard } = held.lane;
    if (shard) for (const set of this.#parts.shardSets) if (set.shards.includes(shard)) set.settled(shard);
  }

  #lose(deliveries: readonly Delivery[], reason: "revoked" | "expired" | "disconnected"): void {
    if (deliveries.length === 0) return;
    const unseen = new Set(this.#buffer);
    this.#buffer.length = 0;
    const gone = new Set(deliveries);
    for (const delivery of unseen) if (!gone.has(delivery)) this.#buffer.push(delivery);
    for (const delivery of deliveries) this.#forget(delivery);
    const known = deliveries.filter((delivery) => !unseen.has(delivery));
    if (known.length > 0) this.#parts.options.lost(known, reason);
    this.#lanes.wake();
  }

  /** What nobody renewed in time is somebody else's to take, whether or not somebody did. */
  #watchLeases(): void {
    const { runtime, leaseMs } = this.#parts;
    this.#cancelExpiry = runtime.timer(
      leaseMs / 8,
      () => {
        const nowMs = runtime.monotonicMs();
        this.#lose(
          this.#holdings.of(({ leaseUntilMs }) => leaseUntilMs <= nowMs),
          "expired",
        );
        this.#watchLeases();
      },
      { background: true },
    );
  }

  async #stop(): Promise<void> {
    this.#lanes.stop();
    await this.#reading;
    if (this.#finished || this.#parts.shardSets.length > 0) return;
    await this.#giveBack(this.#buffer.splice(0));
  }

  async #close(signal: AbortSignal): Promise<void> {
    await unlessAborted(this.stop(signal), signal);
    if (!this.#finished) await unlessAborted(this.#leave(), signal);
    this.#finish(undefined);
  }

  /** n.b. a consumer that still has entries must stay: removing it would drop them. */
  async #leave(): Promise<void> {
    const { shardSets, leave } = this.#parts;
    for (const set of shardSets) set.end();
    try {
      if (shardSets.length > 0) {
        const shards = shardSets.flatMap((set) => set.shards.filter((shard) => shard.held));
        await giveUpShards(this.#context, shards, this.#holdings.of(), true);
      } else await this.#giveBack(this.#holdings.of());
      await leave(this.#parts.consumer);
    } catch {
      // The connection is going: what is left comes again when its lease ends.
      this.#parts.abandoned(this.#parts.consumer);
    }
  }

  async #giveBack(deliveries: readonly Delivery[]): Promise<void> {
    if (deliveries.length === 0) return;
    await giveBackAll(this.#context, deliveries);
  }

  #finish(error: DriverError | undefined): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#cancelExpiry?.();
    for (const set of this.#parts.shardSets) set.end();
    this.#lanes.stop();
    this.#parts.reader.close();
    this.#settled.resolve(error);
  }
}

function untold(): DriverError {
  return new DriverError("UNAVAILABLE", "redis: nobody can tell whether a move happened; what did not comes again");
}
