import type {
  Delivery,
  DriverError,
  LostReason,
  Receiver,
  ReceiverOptions,
  Runtime,
  SendItem,
  Settlement,
  SettleResult,
  Source,
  Unit,
} from "@sluice/core/driver";
import { Holdings } from "./holdings.ts";
import type { Held } from "./holdings.ts";
import type { Feed, Member } from "./mailbox.ts";
import { toDelivery } from "./record.ts";
import type { Entry } from "./record.ts";

/** What a receiver reads: a source, and the place where its records wait. */
export interface Reading {
  readonly source: Source;
  readonly feed: Feed;
}

export interface ReceiverSetup {
  readonly runtime: Runtime;
  readonly options: ReceiverOptions;
  readonly leaseMs: number;
  readonly receiveBatch: number;
  /** Stores all of them, or none and answers false. */
  sendAll(items: readonly SendItem[]): boolean;
  /** Takes the receiver off the connection's list. */
  left(): void;
}

interface Call {
  readonly max: number;
  readonly resolve: (deliveries: readonly Delivery[] | undefined) => void;
}

/**
 * Takes records when core asks for them and buffers none, so `stop` has nothing to give back. One deferred turn
 * answers all calls that wait.
 */
export class MemoryReceiver implements Receiver, Member {
  readonly lease: { readonly ms: number; readonly renew: true; readonly holdMs: number };
  readonly closed: Promise<DriverError | undefined>;
  readonly #setup: ReceiverSetup;
  readonly #readings: Reading[] = [];
  readonly #holdings: Holdings;
  readonly #stoppedShards = new Set<string>();
  readonly #calls: Call[] = [];
  readonly #resolveClosed: (reason: DriverError | undefined) => void;
  #cursor = 0;
  #pumpScheduled = false;
  #stopped = false;
  #finished = false;

  constructor(setup: ReceiverSetup) {
    this.#setup = setup;
    this.#holdings = new Holdings({
      runtime: setup.runtime,
      leaseMs: setup.leaseMs,
      ordered: setup.options.ordered,
      expired: (deliveries) => this.#expired(deliveries),
    });
    this.lease = { ms: setup.leaseMs, renew: true, holdMs: Infinity };
    const { promise, resolve } = Promise.withResolvers<DriverError | undefined>();
    this.closed = promise;
    this.#resolveClosed = resolve;
  }

  /** Only while it is opened. */
  read(reading: Reading): void {
    this.#readings.push(reading);
  }

  get ordered(): boolean {
    return this.#setup.options.ordered;
  }

  get hungry(): boolean {
    return this.#calls.length > 0 && this.#hasRoom();
  }

  wake(): void {
    if (this.#pumpScheduled || this.#calls.length === 0) return;
    this.#pumpScheduled = true;
    this.#setup.runtime.defer(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  forgetHold(shard: string): void {
    this.#stoppedShards.delete(shard);
  }

  receive(max: number, signal: AbortSignal): Promise<readonly Delivery[] | undefined> {
    if (signal.aborted || this.#stopped) return this.#turn([]);
    return new Promise((resolve) => {
      const call: Call = {
        max,
        resolve: (deliveries) => {
          signal.removeEventListener("abort", abort);
          resolve(deliveries);
        },
      };
      // Nothing is on its way to a waiting call: records are taken in the turn that answers it.
      const abort = () => {
        this.#calls.splice(this.#calls.indexOf(call), 1);
        resolve([]);
      };
      signal.addEventListener("abort", abort, { once: true });
      this.#calls.push(call);
      this.wake();
    });
  }

  settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    this.#holdings.expire();
    return this.#turn(settlements.map((settlement) => this.#settleOne(settlement)));
  }

  flush(_signal: AbortSignal): Promise<void> {
    return this.#turn(undefined);
  }

  extend(deliveries: readonly Delivery[], ms: number): Promise<readonly Delivery[]> {
    this.#holdings.expire();
    return this.#turn(this.#holdings.extend(deliveries, ms));
  }

  hold(shards: readonly string[], on: boolean): void {
    for (const shard of shards) {
      if (on) this.#stoppedShards.add(shard);
      else this.#stoppedShards.delete(shard);
    }
    if (!on) this.wake();
  }

  commit(units: readonly Unit[]): Promise<readonly ("durable" | "lost" | "unknown")[]> {
    this.#holdings.expire();
    return this.#turn(units.map((unit) => this.#commitOne(unit)));
  }

  stop(_signal: AbortSignal): Promise<void> {
    this.#stopIntake();
    return this.#turn(undefined);
  }

  close(_signal: AbortSignal): Promise<void> {
    this.#finish(undefined, false);
    return this.#turn(undefined);
  }

  /** The connection broke: what it held is somebody else's now, and counts as delivered. */
  fail(error: DriverError): void {
    this.#finish(error, true);
  }

  #stopIntake(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const { feed } of this.#readings) feed.stop();
    for (const call of this.#calls.splice(0)) call.resolve([]);
  }

  #finish(reason: DriverError | undefined, counted: boolean): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#stopIntake();
    this.#giveUp(this.#holdings.all(), counted, reason === undefined ? undefined : "disconnected");
    this.#holdings.close();
    for (const { feed } of this.#readings) feed.leave(reason !== undefined);
    this.#setup.left();
    this.#resolveClosed(reason);
  }

  // ── handing out ──

  #pump(): void {
    while (this.#calls.length > 0) {
      const batch = this.#take(this.#calls[0]?.max ?? 0);
      if (batch.length === 0 && !this.#ended()) return;
      this.#calls.shift()?.resolve(batch.length > 0 ? batch : undefined);
    }
  }

  /** Sources take turns, record by record. */
  #take(max: number): Delivery[] {
    const most = Math.min(max, this.#setup.receiveBatch);
    const shares = this.#readings.map(({ feed }) => feed.share());
    const batch: Delivery[] = [];
    let empty = 0;
    while (empty < this.#readings.length && batch.length < most && this.#hasRoom()) {
      const index = this.#cursor % this.#readings.length;
      this.#cursor = index + 1;
      const reading = this.#readings[index] as Reading; // in bounds: a modulo of the length
      const share = shares[index] ?? 0;
      const entry = share > 0 ? reading.feed.take(this.#stoppedShards) : undefined;
      shares[index] = share - 1;
      if (entry === undefined) {
        empty++;
        continue;
      }
      empty = 0;
      batch.push(this.#handOut(entry, reading));
    }
    return batch;
  }

  #handOut(entry: Entry, { source, feed }: Reading): Delivery {
    const delivery = toDelivery(entry, source, feed.shardName(entry), feed.fence(entry));
    this.#holdings.add(delivery, { entry, feed });
    return delivery;
  }

  #hasRoom(): boolean {
    const { window, windowBytes } = this.#setup.options;
    return this.#holdings.size < window && this.#holdings.bytes < windowBytes;
  }

  #ended(): boolean {
    return this.#readings.every(({ feed }) => feed.ended);
  }

  // ── settling ──

  #settleOne(settlement: Settlement): SettleResult {
    const held = this.#release(settlement.delivery);
    if (held === undefined) return "lost";
    if (settlement.accept) held.entry.home.accept(held.entry);
    else held.entry.home.giveBack(held.entry, settlement.release === "failed");
    return "durable";
  }

  #commitOne({ accept, send }: Unit): "durable" | "lost" | "unknown" {
    if (this.#finished || !accept.every((delivery) => this.#holdings.has(delivery))) return "lost";
    if (!this.#setup.sendAll(send)) return "unknown";
    for (const delivery of accept) this.#settleOne({ delivery, accept: true });
    return "durable";
  }

  #release(delivery: Delivery): Held | undefined {
    const held = this.#holdings.remove(delivery);
    if (held !== undefined) this.wake();
    return held;
  }

  #expired(deliveries: readonly Delivery[]): void {
    const released = this.#giveUp(deliveries, true, "expired");
    if (!this.ordered) return;
    const shards = new Map(released.map((held) => [held.feed.shardName(held.entry), held]));
    for (const { feed, entry } of shards.values()) feed.renumber(entry);
  }

  /** n.b. tells core first and frees the records after: a new holder never starts before the old one knows. */
  #giveUp(deliveries: readonly Delivery[], counted: boolean, reason: LostReason | undefined): readonly Held[] {
    const released = deliveries.map((delivery) => this.#release(delivery)).filter((held) => held !== undefined);
    if (reason !== undefined && deliveries.length > 0) this.#setup.options.lost(deliveries, reason);
    for (const { entry } of released) entry.home.giveBack(entry, counted);
    return released;
  }

  #turn<T>(answer: T): Promise<T> {
    return new Promise((resolve) => this.#setup.runtime.defer(() => resolve(answer)));
  }
}
