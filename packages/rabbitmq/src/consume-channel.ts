import type { Channel, ConsumeMessage } from "amqplib";
import type { Delivery, Runtime } from "@sluice/core/driver";
import { applied, settlementsUnderWay } from "./applied.ts";
import { type OpenChannel, openChannel } from "./channel.ts";
import type { Link } from "./link.ts";
import { attempt } from "./waiting.ts";

/** A queue that has not applied a settlement for so long applies nothing at all. */
const provenMs = 30_000;

/** One queue's consumer on the channel, and what was written to settle its messages. */
export interface Consumer {
  readonly queue: string;
  readonly tag: string;
  /** Whether the queue counts deliveries: then its settlements may still be with the channel. */
  readonly counts: boolean;
  written: number;
  writtenMs: number;
}

/**
 * One life of one channel on which queues are consumed: opened by the first lane, closed by the last. It knows everything that was
 * delivered on it and is unsettled, in the order of the delivery tags, because one command may settle all up to a tag.
 */
export class ConsumeChannel {
  readonly #link: Link;
  readonly #runtime: Runtime;
  readonly #unsettled = new Map<Delivery, ConsumeMessage>();
  #opening: Promise<OpenChannel> | undefined;
  #open: OpenChannel | undefined;
  readonly #users = new Set<object>();
  #consumers = 0;
  #prefetch = -1;

  constructor(link: Link, runtime: Runtime) {
    this.#link = link;
    this.#runtime = runtime;
  }

  get alive(): boolean {
    return this.#open?.alive === true;
  }

  /** One more uses it; `leave` is the other end of it, also after a failure. */
  async join(user: object, doing: string): Promise<OpenChannel> {
    this.#users.add(user);
    this.#opening ??= openChannel(this.#link, this.#runtime, doing);
    this.#open = await this.#opening;
    // Everybody gave up meanwhile.
    if (this.#users.size === 0) void this.#open.close();
    return this.#open;
  }

  /** Resolves when the last one has left and the channel is closed; for the others at once. The broker takes back what is unsettled. */
  async leave(user: object, consumer?: Consumer, signal?: AbortSignal): Promise<void> {
    const channel = this.#open;
    if (consumer) await this.prove(consumer, signal);
    this.#users.delete(user);
    if (this.#users.size === 0) await channel?.close(signal);
  }

  consumer(queue: string, counts: boolean): Consumer {
    return { queue, tag: `${queue.slice(0, 100)} ${++this.#consumers}`, counts, written: 0, writtenMs: 0 };
  }

  /** Resolves when the broker has registered the consumer. */
  async consume(
    { queue, tag }: Consumer,
    prefetch: number,
    received: (message: ConsumeMessage | null) => void,
  ): Promise<void> {
    const native = this.#open?.native;
    // n.b. per consumer, never global: quorum queues refuse or ignore a global one. It holds for consumers that are asked for after
    // it, and several lanes ask at the same time: nothing may come between the two.
    const prefetching = prefetch === this.#prefetch ? undefined : native?.prefetch(prefetch, false);
    this.#prefetch = prefetch;
    // n.b. no consumer priorities: on 4.3 a single active consumer that a higher one waits to replace, and that dies with unsettled
    // messages, stays in the queue; once the higher one goes too, the queue delivers to the dead one for ever.
    await Promise.all([prefetching, native?.consume(queue, received, { consumerTag: tag })]);
  }

  async cancel(consumer: Consumer, signal?: AbortSignal): Promise<void> {
    await this.ask((native) => native.cancel(consumer.tag), "cannot cancel", signal);
  }

  /** One question, bounded in time; a failure is the channel's, which says so itself. */
  async ask(question: (native: Channel) => Promise<unknown>, doing: string, signal?: AbortSignal): Promise<void> {
    const channel = this.#open;
    if (channel?.alive) await attempt(question(channel.native), this.#bound(doing, signal));
  }

  /** The queue has applied everything that was written to settle its messages: the channel keeps no settlement to itself. */
  async prove(consumer: Consumer, signal?: AbortSignal): Promise<void> {
    const channel = this.#open;
    if (!channel?.alive || !this.#needsProof(consumer)) return;
    consumer.written = 0;
    await attempt(applied(channel.native, consumer.queue), this.#bound("cannot flush", signal));
  }

  /** The broker has read everything that was written before. */
  async roundTrip(signal?: AbortSignal): Promise<void> {
    const channel = this.#open;
    // Asks for the prefetch again, which touches only consumers that come after it.
    if (channel?.alive) await attempt(channel.native.prefetch(this.#prefetch), this.#bound("cannot flush", signal));
  }

  delivered(delivery: Delivery, message: ConsumeMessage): void {
    this.#unsettled.set(delivery, message);
  }

  /** No longer ours: nothing will be written about them. */
  forget(deliveries: Iterable<Delivery>): void {
    for (const delivery of deliveries) this.#unsettled.delete(delivery);
  }

  /** One acknowledgement covers a finished prefix of everything unsettled on the channel. Empties the set. */
  accept(consumer: Consumer, accepted: Set<Delivery>): void {
    let last: ConsumeMessage | undefined;
    for (const [delivery, message] of this.#unsettled) {
      if (!accepted.delete(delivery)) break;
      last = message;
      this.#unsettled.delete(delivery);
    }
    if (last) this.#write(consumer, (native, message) => native.ack(message, true), last);
    for (const delivery of accepted) this.#settle(consumer, delivery, (native, message) => native.ack(message));
  }

  /** n.b. from 4.3 on the broker counts a reject as a failed attempt and a nack not at all; before, it counts both. */
  release(consumer: Consumer, delivery: Delivery, release: "returned" | "failed"): void {
    if (release === "failed") this.#settle(consumer, delivery, (native, message) => native.reject(message, true));
    else this.#settle(consumer, delivery, (native, message) => native.nack(message, false, true));
  }

  /** In one command where nothing else is out. */
  returnAll(consumer: Consumer, deliveries: readonly Delivery[]): void {
    const last = deliveries.at(-1);
    const message = last && this.#unsettled.get(last);
    if (!message || deliveries.length < this.#unsettled.size) {
      for (const delivery of deliveries) this.release(consumer, delivery, "returned");
      return;
    }
    this.#unsettled.clear();
    this.#write(consumer, (native, latest) => native.nack(latest, true, true), message);
  }

  #settle(consumer: Consumer, delivery: Delivery, write: Write): void {
    const message = this.#unsettled.get(delivery);
    this.#unsettled.delete(delivery);
    if (message) this.#write(consumer, write, message);
  }

  #write(consumer: Consumer, write: Write, message: ConsumeMessage): void {
    try {
      if (this.#open) write(this.#open.native, message);
      consumer.written++;
      consumer.writtenMs = this.#runtime.monotonicMs();
    } catch {
      // Closed a moment ago: the broker has it back, and 'close' reports what was lost.
    }
  }

  /** Closing now could take settlements back that the channel has not passed on. */
  #needsProof({ counts, written, writtenMs }: Consumer): boolean {
    return counts && written > settlementsUnderWay && this.#runtime.monotonicMs() - writtenMs < provenMs;
  }

  #bound(doing: string, signal: AbortSignal | undefined) {
    return { runtime: this.#runtime, doing, ...(signal ? { signal } : {}) };
  }
}

type Write = (native: Channel, message: ConsumeMessage) => void;
