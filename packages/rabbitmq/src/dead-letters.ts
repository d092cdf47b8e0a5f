import type { Channel, GetMessage } from "amqplib";
import {
  type DeadLetterSource,
  type Delivery,
  type DriverError,
  type Receiver,
  type ReceiverOptions,
  type Runtime,
  type SettleResult,
  type Settlement,
  sleep,
} from "@sluice/core/driver";
import { applied, settlementsUnderWay } from "./applied.ts";
import type { OpenChannel } from "./channel.ts";
import { translate } from "./errors.ts";
import type { RabbitMessage } from "./options.ts";
import type { Lease } from "./receiver.ts";
import { fromNative } from "./record.ts";
import { attempt, bounded, settled } from "./waiting.ts";

/** Records fetched for one `receive`, one round trip each. */
const batch = 64;

export interface DeadLetterParts {
  readonly channel: OpenChannel;
  readonly runtime: Runtime;
  readonly lease: Lease;
  readonly options: ReceiverOptions;
  readonly source: DeadLetterSource;
  readonly queue: string;
  /** How many were waiting at opening: the snapshot. */
  readonly count: number;
  /** How many wait now. */
  depth(): Promise<number>;
}

interface Parked {
  readonly message: RabbitMessage;
  readonly release: "returned" | "failed";
}

/**
 * Everything that was in a dead-letter queue at opening, once. Fetched one by one, because what is released must not come again in
 * this reading: it stays unsettled with the broker until the end, and then returns to its place.
 */
export class DeadLetterReceiver implements Receiver {
  readonly lease: Lease;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: DeadLetterParts;
  readonly #out = new Map<Delivery, RabbitMessage>();
  /** Released ones, by delivery tag. */
  readonly #parked = new Map<number, Parked>();
  /** Settlements that the queue may not have applied yet. */
  #written = 0;
  readonly #waiting = new Set<() => void>();
  #left: number;
  #ended = false;
  #closing: Promise<void> | undefined;

  constructor(parts: DeadLetterParts) {
    this.#parts = parts;
    this.lease = parts.lease;
    this.closed = this.#settled.promise;
    this.#left = parts.count;
    parts.channel.onLost((reason) => this.#lost(reason));
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[] | undefined> {
    while (this.#room === 0 && this.#left > 0 && !signal.aborted && !this.#ended) await this.#change(signal);
    const taken: Delivery[] = [];
    const most = Math.min(max, batch, this.#room);
    while (taken.length < most && this.#left > 0 && !signal.aborted && !this.#ended) {
      const delivery = await this.#get();
      if (delivery) taken.push(delivery);
    }
    if (taken.length > 0 || signal.aborted) return taken;
    return this.#left === 0 || this.#ended ? undefined : [];
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const accepted = new Set<Delivery>();
    const results = settlements.map(({ delivery, ...how }): SettleResult => {
      const message = this.#out.get(delivery);
      if (!message || accepted.has(delivery) || !this.#parts.channel.alive) return "lost";
      if (how.accept) accepted.add(delivery);
      else {
        this.#out.delete(delivery);
        this.#parked.set(message.fields.deliveryTag, { message, release: how.release });
      }
      return "sent";
    });
    await this.#accept(accepted);
    this.#wake();
    return results;
  }

  async flush(signal: AbortSignal): Promise<void> {
    await this.#prove(signal);
  }

  async stop(_signal: AbortSignal): Promise<void> {
    this.#ended = true;
    this.#wake();
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  get #room(): number {
    return Math.max(0, this.#parts.options.window - this.#out.size);
  }

  async #get(): Promise<Delivery | undefined> {
    const { channel, runtime, queue, source } = this.#parts;
    try {
      const message: GetMessage | false = await bounded(channel.native.get(queue), {
        runtime,
        doing: `cannot read "${queue}"`,
      });
      // Somebody else took the rest.
      if (message === false) this.#left = 0;
      if (message === false) return undefined;
      this.#left--;
      // Fetching is a command of the queue, behind the settlements before it.
      this.#written = 0;
      const delivery = fromNative(message, { source, shard: queue, counts: true });
      this.#out.set(delivery, message);
      return delivery;
    } catch (error) {
      if (channel.alive) this.#lost(translate(error, `cannot read "${queue}"`));
      return undefined;
    }
  }

  async #close(signal: AbortSignal): Promise<void> {
    // What is still out goes back too: uncounted where the broker can tell.
    for (const message of this.#out.values()) {
      this.#parked.set(message.fields.deliveryTag, { message, release: "returned" });
    }
    this.#out.clear();
    await this.stop(signal);
    await this.#prove(signal);
    await this.#giveBack(signal);
    await this.#parts.channel.close(signal);
    this.#finish(undefined);
  }

  /** The queue has applied every settlement so far. */
  async #prove(signal?: AbortSignal): Promise<void> {
    const { channel, runtime, queue } = this.#parts;
    if (!channel.alive || this.#written === 0) return;
    this.#written = 0;
    const there = await this.#depth();
    await attempt(applied(channel.native, queue), { runtime, doing: "cannot flush", ...(signal ? { signal } : {}) });
    // n.b. the barrier may have fetched a message and given it back: whoever counts next must find it.
    await this.#untilThere(there, signal);
  }

  /** One acknowledgement for a prefix of everything unsettled, parked ones included. */
  async #accept(accepted: Set<Delivery>): Promise<void> {
    const parked = Math.min(Infinity, ...this.#parked.keys());
    let last: RabbitMessage | undefined;
    for (const [delivery, message] of this.#out) {
      if (message.fields.deliveryTag > parked || !accepted.delete(delivery)) break;
      last = message;
      this.#out.delete(delivery);
    }
    if (last) this.#write((native) => last && native.ack(last, true));
    for (const delivery of accepted) {
      const message = this.#out.get(delivery);
      this.#out.delete(delivery);
      if (message) this.#write((native) => native.ack(message));
      // n.b. what the channel keeps to itself is merged there, and a later return of many loses its order.
      if (this.#written >= settlementsUnderWay) await this.#prove();
    }
  }

  /**
   * In the order in which they were fetched, so that the queue looks as before, a few at a time: fetched messages return one by one,
   * and what the channel keeps to itself loses its order. Done when they are back: whoever counts next must find them.
   */
  async #giveBack(signal: AbortSignal): Promise<void> {
    const parked = [...this.#parked].toSorted(([one], [other]) => one - other);
    this.#parked.clear();
    let there = parked.length === 0 ? 0 : await this.#depth();
    for (let from = 0; from < parked.length; from += settlementsUnderWay) {
      const some = parked.slice(from, from + settlementsUnderWay);
      for (const [, { message, release }] of some) {
        this.#write((native) =>
          release === "failed" ? native.reject(message, true) : native.nack(message, false, true),
        );
      }
      there += some.length;
      await this.#untilThere(there, signal);
    }
  }

  async #untilThere(count: number, signal: AbortSignal | undefined): Promise<void> {
    const { runtime, channel } = this.#parts;
    // Others may take some meanwhile: then there is nothing to wait for.
    for (let look = 0; look < 100 && channel.alive && !signal?.aborted; look++) {
      if ((await this.#depth()) >= count) return;
      await sleep(runtime, 5, signal);
    }
  }

  async #depth(): Promise<number> {
    return this.#parts.depth().catch(() => 0);
  }

  #write(write: (native: Channel) => void): void {
    try {
      write(this.#parts.channel.native);
      this.#written++;
    } catch {
      // Closed a moment ago: the broker has it back.
    }
  }

  #lost(reason: DriverError): void {
    this.#ended = true;
    const out = [...this.#out.keys()];
    this.#out.clear();
    this.#parked.clear();
    if (out.length > 0) this.#parts.options.lost(out, "disconnected");
    this.#finish(reason);
    void this.#parts.channel.close();
  }

  #finish(reason: DriverError | undefined): void {
    this.#settled.resolve(reason);
    this.#wake();
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}
