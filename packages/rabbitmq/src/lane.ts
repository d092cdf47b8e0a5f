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
import { applied, settlementsUnderWay } from "./applied.ts";
import { type OpenChannel, openChannel } from "./channel.ts";
import { translate } from "./errors.ts";
import type { Link } from "./link.ts";
import { fromNative } from "./record.ts";
import { attempt, bounded } from "./waiting.ts";

/** One queue of a source. */
export interface LaneSpec {
  readonly source: Source;
  /** Makes what only this channel may have (an exclusive queue) and answers the queue's name. */
  queue(channel: Channel): Promise<string>;
  /** Unique within the receiver. */
  readonly shard: string;
  readonly counts: boolean;
  /** One holder at a time: what is unsettled goes back only by closing the channel. */
  readonly ordered: boolean;
}

export interface LaneParts {
  readonly link: Link;
  readonly runtime: Runtime;
  /** There is something in the inbox. */
  arrived(): void;
  /** Synchronous: these were handed out and are not ours any more. The lane is finished. */
  lost(handedOut: readonly Delivery[], reason: LostReason, error: DriverError): void;
}

/** A queue that has not applied a settlement for so long applies nothing at all. */
const provenMs = 30_000;

interface Held {
  readonly tag: number;
  readonly message: ConsumeMessage;
  readonly bytes: number;
  handedOut: boolean;
}

/** One queue being consumed on one channel: a bounded inbox, what is handed out, and their settlement. */
export class Lane {
  readonly spec: LaneSpec;
  readonly #parts: LaneParts;
  /** Everything unsettled, in the order of the delivery tags. */
  readonly #held = new Map<Delivery, Held>();
  #inbox: Delivery[] = [];
  #channel: OpenChannel | undefined;
  #tag: string | undefined;
  #prefetch = 1;
  #handedOut = 0;
  #bytes = 0;
  #stopped = false;
  /** An ordered lane gave something up: nothing more of it is handed out until its channel was closed. */
  #givenUp = new Set<Delivery>();
  /** The lane leaves its place to another instance, as soon as everything handed out is settled. */
  #yielding = false;
  #active = false;
  #leaving: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | undefined;
  /** Settlements on this channel, and when the last one was. */
  #written = 0;
  #writtenMs = 0;
  onHold = false;

  constructor(spec: LaneSpec, parts: LaneParts) {
    this.spec = spec;
    this.#parts = parts;
  }

  /** Resolves when the broker has registered the consumer. */
  async open(prefetch: number): Promise<void> {
    const { runtime, link } = this.#parts;
    const doing = `cannot consume "${this.spec.shard}"`;
    const channel = await openChannel(link, runtime, doing);
    try {
      await bounded(this.#consume(channel, prefetch), { runtime, doing });
    } catch (error) {
      void channel.close();
      throw translate(error, doing);
    }
  }

  get isOpen(): boolean {
    return this.#channel?.alive === true;
  }

  /** Neither waiting here nor handed out. */
  get idle(): boolean {
    return this.#held.size === 0;
  }

  /** Something came since it was opened: of all instances, this one is the queue's active consumer. */
  get active(): boolean {
    return this.#active;
  }

  /** Body bytes handed out. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The next record, if one may be handed out. */
  take(): Delivery | undefined {
    if (this.#stopped || this.#yielding || this.onHold || this.#givenUp.size > 0) return undefined;
    const delivery = this.#inbox.shift();
    const held = delivery && this.#held.get(delivery);
    if (!held) return undefined;
    held.handedOut = true;
    this.#handedOut++;
    this.#bytes += held.bytes;
    return delivery;
  }

  owns(delivery: Delivery): boolean {
    return this.#held.get(delivery)?.handedOut === true && !this.#givenUp.has(delivery);
  }

  /** Settles what is still ours; one acknowledgement covers a finished prefix. */
  settle(settlements: readonly Settlement[]): readonly SettleResult[] {
    const accepted = new Set<Delivery>();
    const results = settlements.map((settlement): SettleResult => {
      const { delivery } = settlement;
      if (!this.isOpen || !this.owns(delivery) || accepted.has(delivery)) return "lost";
      if (settlement.accept) accepted.add(delivery);
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
    const channel = this.#channel;
    if (!channel?.alive) return;
    // n.b. cancelling an ordered consumer lets the next one start while ours still runs; closing gives back in order.
    if (this.spec.ordered) return this.#closeWhenDone();
    const { runtime } = this.#parts;
    if (this.#tag !== undefined) {
      await attempt(channel.native.cancel(this.#tag), {
        runtime,
        doing: "cannot cancel",
        ...(signal ? { signal } : {}),
      });
    }
    this.#returnAll(this.#inbox);
    this.#inbox = [];
    await this.#roundTrip(signal);
  }

  /** The broker has read every settlement before it. */
  async flush(signal: AbortSignal): Promise<void> {
    await this.#roundTrip(signal);
  }

  /** The broker takes back everything unsettled, in order. Nothing is reported as lost. */
  async close(signal?: AbortSignal): Promise<void> {
    await this.stop(signal);
    // n.b. what goes back by a closing channel counts as delivered once more; what is returned does not, from 4.3 on. Ordered
    // lanes have no choice.
    if (!this.spec.ordered) this.#returnAll([...this.#held.keys()]);
    await this.#drop(signal);
    await this.#leaving;
  }

  /**
   * Leaves the queue to another lane's turn; `open` comes back. Only with at most one record unsettled, which is accepted after the
   * broker has stopped delivering: an acknowledgement first would fetch the next one, to be returned and counted.
   */
  async leave(last: Delivery | undefined): Promise<SettleResult> {
    const channel = this.#channel;
    if (!channel?.alive) return "lost";
    const { runtime } = this.#parts;
    if (last && this.#tag !== undefined) {
      await attempt(channel.native.cancel(this.#tag), { runtime, doing: "cannot cancel" });
    }
    const ours = last !== undefined && this.isOpen && this.owns(last);
    if (ours) this.#accept(new Set([last]));
    await this.#drop();
    return ours ? "sent" : "lost";
  }

  /** Gives everything up without a word to the broker but the channel's close; answers what was handed out. */
  surrender(): readonly Delivery[] {
    const handedOut = this.#out();
    this.#stopped = true;
    void this.#drop();
    return handedOut;
  }

  async #consume(channel: OpenChannel, prefetch: number): Promise<void> {
    const { native } = channel;
    const queue = await this.spec.queue(native);
    // n.b. per consumer, never global: quorum queues refuse or ignore a global one.
    await native.prefetch(prefetch, false);
    this.#channel = channel;
    this.#prefetch = prefetch;
    channel.onLost((reason) => this.#lost(channel, timedOut(reason) ? "expired" : "disconnected", reason));
    // n.b. no consumer priorities: on 4.3 a single active consumer that a higher one waits to replace, and that dies with unsettled
    // messages, stays in the queue; once the higher one goes too, the queue delivers to the dead one for ever.
    const { consumerTag } = await native.consume(queue, (message) => this.#received(channel, message));
    this.#tag = consumerTag;
  }

  /** n.b. runs inside amqplib's frame loop, where a throw would close the channel: it only stores. */
  #received(channel: OpenChannel, message: ConsumeMessage | null): void {
    if (channel !== this.#channel) return;
    if (message === null) return this.#cancelled(channel);
    const bytes = message.content.length;
    const delivery = fromNative(message, this.spec);
    this.#held.set(delivery, { tag: message.fields.deliveryTag, message, bytes, handedOut: false });
    this.#active = true;
    this.#inbox.push(delivery);
    this.#parts.arrived();
  }

  /** The broker took the consumer away: its queue is gone, or (from 4.3 on) a delivery stayed unsettled for too long. */
  #cancelled(channel: OpenChannel): void {
    const text = `rabbitmq: the broker cancelled the consumer of "${this.spec.shard}": its queue was deleted, or a delivery exceeded consumer_timeout`;
    this.#lost(channel, "expired", new DriverError("LOST", text));
    void channel.close();
  }

  #lost(channel: OpenChannel, reason: LostReason, error: DriverError): void {
    if (channel !== this.#channel) return;
    const handedOut = this.#out();
    this.#clear();
    this.#parts.lost(handedOut, reason, error);
  }

  /** Handed out and not settled. */
  #out(): readonly Delivery[] {
    return [...this.#held.keys()].filter((delivery) => this.owns(delivery));
  }

  /** Asks for the prefetch again, which touches only consumers that come after it: answered after everything before it. */
  async #roundTrip(signal?: AbortSignal): Promise<void> {
    const channel = this.#channel;
    if (!channel?.alive) return;
    const { runtime } = this.#parts;
    await attempt(channel.native.prefetch(this.#prefetch), {
      runtime,
      doing: "cannot flush",
      ...(signal ? { signal } : {}),
    });
  }

  #accept(accepted: Set<Delivery>): void {
    let last: ConsumeMessage | undefined;
    for (const [delivery, { message }] of this.#held) {
      if (!accepted.delete(delivery)) break;
      last = message;
      this.#forget(delivery);
    }
    if (last) this.#write((native, message) => native.ack(message, true), last);
    for (const delivery of accepted) {
      const message = this.#forget(delivery);
      if (message) this.#write((native, one) => native.ack(one), message);
    }
  }

  #release(delivery: Delivery, release: "returned" | "failed"): void {
    // A single return would put it behind those in flight: the whole lane goes back, by closing the channel.
    if (this.spec.ordered) this.#givenUp.add(delivery);
    else this.#return(delivery, release);
  }

  /** n.b. from 4.3 on the broker counts a reject as a failed attempt and a nack not at all; before, it counts both. */
  #return(delivery: Delivery, release: "returned" | "failed"): void {
    const message = this.#forget(delivery);
    if (!message) return;
    if (release === "failed") this.#write((native, one) => native.reject(one, true), message);
    else this.#write((native, one) => native.nack(one, false, true), message);
  }

  /** In one command where nothing else is out. */
  #returnAll(deliveries: readonly Delivery[]): void {
    const last = deliveries.at(-1);
    const held = last && this.#held.get(last);
    if (!held || deliveries.length < this.#held.size) {
      for (const delivery of deliveries) this.#return(delivery, "returned");
      return;
    }
    for (const delivery of deliveries) this.#forget(delivery);
    this.#write((native, message) => native.nack(message, true, true), held.message);
  }

  #forget(delivery: Delivery): ConsumeMessage | undefined {
    const held = this.#held.get(delivery);
    if (!held) return undefined;
    this.#held.delete(delivery);
    if (held.handedOut) {
      this.#handedOut--;
      this.#bytes -= held.bytes;
    }
    return held.message;
  }

  #write(write: (native: Channel, message: ConsumeMessage) => void, message: ConsumeMessage): void {
    try {
      if (this.#channel) write(this.#channel.native, message);
      this.#written++;
      this.#writtenMs = this.#parts.runtime.monotonicMs();
    } catch {
      // Closed a moment ago: the broker has it back, and 'close' reports what was lost.
    }
  }

  /** An ordered lane that stops, or gave something up, goes when nothing else is out. */
  #closeWhenDone(): void {
    if (!this.spec.ordered || !this.#channel || this.#handedOut > this.#givenUp.size) return;
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
    const channel = this.#channel;
    const proof = this.#needsProof;
    this.#clear();
    if (!channel) return;
    const bound = { runtime: this.#parts.runtime, doing: "cannot flush", ...(signal ? { signal } : {}) };
    if (proof && channel.alive) await attempt(applied(channel.native, this.spec.shard), bound);
    await channel.close(signal);
  }

  /** Closing now could take settlements back that the channel has not passed on. */
  get #needsProof(): boolean {
    const ageMs = this.#parts.runtime.monotonicMs() - this.#writtenMs;
    return this.spec.counts && this.#written > settlementsUnderWay && ageMs < provenMs;
  }

  #clear(): void {
    this.#channel = undefined;
    this.#tag = undefined;
    this.#written = 0;
    this.#held.clear();
    this.#givenUp.clear();
    this.#yielding = false;
    this.#active = false;
    this.#inbox = [];
    this.#handedOut = 0;
    this.#bytes = 0;
  }
}

/** Up to 4.2 the broker closes the channel of a delivery that stayed unsettled for too long. */
function timedOut(reason: DriverError): boolean {
  return reason.code === "LOST" && reason.message.includes("timed out");
}
