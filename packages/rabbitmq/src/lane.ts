import type { Channel, ConsumeMessage } from "amqplib";
import {
  type Delivery,
  DriverError,
  type LostReason,
  type Runtime,
  type SettleResult,
  type Settlement,
  type Source,
} from "@sluice/core/driver";
import type { ConsumeChannel, Consumer } from "./consume-channel.ts";
import { translate } from "./errors.ts";
import { fromNative } from "./record.ts";
import { bounded } from "./waiting.ts";

/** One queue of a source. */
export interface LaneSpec {
  readonly source: Source;
  /** Makes what only this channel may have (an exclusive queue) and answers the queue's name. */
  queue(channel: Channel): Promise<string>;
  /** Unique within the receiver. */
  readonly shard: string;
  readonly counts: boolean;
  /** Whether what is given back counts as never delivered. */
  readonly freeReturns: boolean;
  /** One holder at a time: what is unsettled goes back only by closing the channel. */
  readonly ordered: boolean;
  /**
   * Present when it ends with its consumer, and what is in it too: takes it out of the routes first. n.b. a publish that is being
   * routed to a queue in the middle of its end is refused as a whole, and what is sent again is there twice for all others.
   */
  readonly unroute?: (channel: Channel) => Promise<unknown>;
}

/** What all lanes of a receiver have handed out together. */
export interface Tally {
  records: number;
  bytes: number;
}

export interface LaneParts {
  readonly runtime: Runtime;
  readonly tally: Tally;
  /** A new channel for each opening, or one that lanes share. */
  channel(): ConsumeChannel;
  /** There is something in the inbox. */
  arrived(lane: Lane): void;
  /** Synchronous: these were handed out and are not ours any more. The lane is finished. */
  lost(handedOut: readonly Delivery[], reason: LostReason, error: DriverError): void;
}

/** One queue being consumed: a bounded inbox, what is handed out, and how the lane ends. */
export class Lane {
  readonly spec: LaneSpec;
  readonly #parts: LaneParts;
  #inbox: Delivery[] = [];
  /** Handed out and unsettled. */
  readonly #out = new Set<Delivery>();
  #bytes = 0;
  #channel: ConsumeChannel | undefined;
  #consumer: Consumer | undefined;
  #prefetch = 1;
  #stopped = false;
  /** An ordered lane gave something up: nothing more of it is handed out until its channel was closed. */
  readonly #givenUp = new Set<Delivery>();
  /** The lane leaves its place to another instance, as soon as everything handed out is settled. */
  #yielding = false;
  #active = false;
  #leaving: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | undefined;
  onHold = false;

  constructor(spec: LaneSpec, parts: LaneParts) {
    this.spec = spec;
    this.#parts = parts;
  }

  /** Resolves when the broker has registered the consumer. */
  async open(prefetch: number): Promise<void> {
    const doing = `cannot consume "${this.spec.shard}"`;
    const channel = this.#parts.channel();
    try {
      await bounded(this.#consume(channel, prefetch, doing), { runtime: this.#parts.runtime, doing });
    } catch (error) {
      if (this.#channel === channel) this.#clear();
      void channel.leave(this);
      throw translate(error, doing);
    }
  }

  get isOpen(): boolean {
    return this.#channel?.alive === true;
  }

  /** Neither waiting here nor handed out. */
  get idle(): boolean {
    return this.#inbox.length === 0 && this.#out.size === 0;
  }

  /** Something is in the inbox. */
  get waiting(): boolean {
    return this.#inbox.length > 0;
  }

  /** Something came since it was opened: of all instances, this one is the queue's active consumer. */
  get active(): boolean {
    return this.#active;
  }

  /** The next record, if one may be handed out. */
  take(): Delivery | undefined {
    if (this.#stopped || this.#yielding || this.onHold || this.#givenUp.size > 0) return undefined;
    const delivery = this.#inbox.shift();
    if (!delivery) return undefined;
    this.#out.add(delivery);
    this.#count(1, delivery.body?.length ?? 0);
    return delivery;
  }

  owns(delivery: Delivery): boolean {
    return this.#out.has(delivery) && !this.#givenUp.has(delivery);
  }

  /** Settles what is still ours. */
  settle(settlements: readonly Settlement[]): readonly SettleResult[] {
    const accepted = new Set<Delivery>();
    const results = settlements.map((settlement): SettleResult => {
      const { delivery } = settlement;
      if (!this.isOpen || !this.owns(delivery)) return "lost";
      if (settlement.accept) this.#leaves(delivery, accepted);
      else this.#release(delivery, settlement.release);
      return "sent";
    });
    this.#accept(accepted);
    this.#closeWhenDone();
    return results;
  }

  /** Lets another instance become the active consumer, and joins the end of those that wait. */
  yield(): void {
    this.#yielding = true;
    this.#closeWhenDone();
  }

  /** No more intake. What nobody saw goes back at once; on an ordered lane as soon as everything handed out is settled. */
  stop(signal?: AbortSignal): Promise<void> {
    this.#stopping ??= this.#stop(signal);
    return this.#stopping;
  }

  async #stop(signal: AbortSignal | undefined): Promise<void> {
    this.#stopped = true;
    const [channel, consumer] = [this.#channel, this.#consumer];
    if (!channel?.alive || !consumer) return;
    // n.b. cancelling an ordered consumer lets the next one start while ours still runs; closing gives back in order.
    if (this.spec.ordered) return this.#closeWhenDone();
    const { unroute } = this.spec;
    if (unroute) await channel.ask((native) => unroute(native), "cannot leave a broadcast", signal);
    await channel.cancel(consumer, signal);
    channel.returnAll(consumer, this.#inbox);
    this.#inbox = [];
    await channel.roundTrip(signal);
  }

  /** Every settlement before it counts, whatever becomes of this process. */
  async flush(signal: AbortSignal): Promise<void> {
    const [channel, consumer] = [this.#channel, this.#consumer];
    // n.b. the proof may look at a message of somebody else's: only where that is not held against it.
    if (channel && consumer && this.spec.freeReturns) await channel.prove(consumer, signal);
    await channel?.roundTrip(signal);
  }

  /** The broker takes back everything unsettled, in order. Nothing is reported as lost. */
  async close(signal?: AbortSignal): Promise<void> {
    await this.stop(signal);
    // n.b. what goes back by a closing channel counts as delivered once more; what is returned does not, from 4.3 on. Ordered
    // lanes have no choice.
    if (!this.spec.ordered && this.#consumer) this.#channel?.returnAll(this.#consumer, [...this.#out, ...this.#inbox]);
    await this.#drop(signal);
    await this.#leaving;
  }

  /**
   * Leaves the queue to another lane's turn; `open` comes back. Only with at most one record unsettled, which is accepted after the
   * broker has stopped delivering: an acknowledgement first would fetch the next one, to be returned and counted.
   */
  async leave(last: Delivery | undefined): Promise<SettleResult> {
    const [channel, consumer] = [this.#channel, this.#consumer];
    if (!channel?.alive || !consumer) return "lost";
    if (last) await channel.cancel(consumer);
    const accepted = new Set<Delivery>();
    if (last && this.isOpen && this.owns(last)) this.#leaves(last, accepted);
    const result = accepted.size > 0 ? "sent" : "lost";
    this.#accept(accepted);
    await this.#drop();
    return result;
  }

  /** Gives everything up without a word to the broker but the channel's close; answers what was handed out. */
  surrender(): readonly Delivery[] {
    const handedOut = this.#ours();
    this.#stopped = true;
    void this.#drop();
    return handedOut;
  }

  async #consume(channel: ConsumeChannel, prefetch: number, doing: string): Promise<void> {
    const open = await channel.join(this, doing);
    const queue = await this.spec.queue(open.native);
    const consumer = channel.consumer(queue, this.spec.counts);
    this.#channel = channel;
    this.#consumer = consumer;
    this.#prefetch = prefetch;
    open.onLost((reason) => this.#lost(channel, timedOut(reason) ? "expired" : "disconnected", reason));
    await channel.consume(consumer, prefetch, (message) => this.#received(channel, message));
  }

  /** n.b. runs inside amqplib's frame loop, where a throw would close the channel: it only stores. */
  #received(channel: ConsumeChannel, message: ConsumeMessage | null): void {
    if (channel !== this.#channel) return;
    if (message === null) return this.#cancelled(channel);
    const delivery = fromNative(message, this.spec);
    channel.delivered(delivery, message);
    this.#active = true;
    this.#inbox.push(delivery);
    this.#parts.arrived(this);
  }

  /** The broker took the consumer away: its queue is gone, or (from 4.3 on) a delivery stayed unsettled for too long. */
  #cancelled(channel: ConsumeChannel): void {
    const text = `rabbitmq: the broker cancelled the consumer of "${this.spec.shard}": its queue was deleted, or a delivery exceeded consumer_timeout`;
    this.#lost(channel, "expired", new DriverError("LOST", text));
  }

  #lost(channel: ConsumeChannel, reason: LostReason, error: DriverError): void {
    if (channel !== this.#channel) return;
    const handedOut = this.#ours();
    this.#clear();
    void channel.leave(this);
    this.#parts.lost(handedOut, reason, error);
  }

  /** Handed out and not given up. */
  #ours(): readonly Delivery[] {
    return [...this.#out].filter((delivery) => this.owns(delivery));
  }

  #accept(accepted: Set<Delivery>): void {
    if (accepted.size > 0 && this.#consumer) this.#channel?.accept(this.#consumer, accepted);
  }

  #release(delivery: Delivery, release: "returned" | "failed"): void {
    // A single return would put it behind those in flight: the whole lane goes back, by closing the channel.
    if (this.spec.ordered) return void this.#givenUp.add(delivery);
    this.#leaves(delivery);
    if (this.#consumer) this.#channel?.release(this.#consumer, delivery, release);
  }

  #leaves(delivery: Delivery, accepted?: Set<Delivery>): void {
    this.#out.delete(delivery);
    this.#count(-1, -(delivery.body?.length ?? 0));
    accepted?.add(delivery);
  }

  #count(records: number, bytes: number): void {
    const { tally } = this.#parts;
    tally.records += records;
    tally.bytes += bytes;
    this.#bytes += bytes;
  }

  /** An ordered lane that stops, or gave something up, goes when nothing else is out. */
  #closeWhenDone(): void {
    if (!this.spec.ordered || !this.#channel || this.#out.size > this.#givenUp.size) return;
    if (this.#stopped) this.#leaving = this.#drop();
    else if (this.#yielding || this.#givenUp.size > 0) this.#leaving = this.#restart();
  }

  async #restart(): Promise<void> {
    await this.#drop();
    if (this.#stopped) return;
    try {
      await this.open(this.#prefetch);
      if (this.#stopped) await this.#drop();
    } catch (error) {
      this.#parts.lost([], "disconnected", translate(error, `cannot consume "${this.spec.shard}"`));
    }
  }

  async #drop(signal?: AbortSignal): Promise<void> {
    const [channel, consumer] = [this.#channel, this.#consumer];
    this.#clear();
    await channel?.leave(this, consumer, signal);
  }

  #clear(): void {
    this.#channel?.forget([...this.#out, ...this.#inbox]);
    this.#channel = undefined;
    this.#consumer = undefined;
    this.#count(-this.#out.size, -this.#bytes);
    this.#out.clear();
    this.#inbox = [];
    this.#givenUp.clear();
    this.#yielding = false;
    this.#active = false;
  }
}

/** Up to 4.2 the broker closes the channel of a delivery that stayed unsettled for too long. */
function timedOut(reason: DriverError): boolean {
  return reason.code === "LOST" && reason.message.includes("timed out");
}
