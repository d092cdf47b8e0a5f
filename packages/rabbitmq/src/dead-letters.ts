import type { Channel, GetMessage } from "amqplib";
import type {
  DeadLetterSource,
  Delivery,
  DriverError,
  Receiver,
  ReceiverOptions,
  Runtime,
  SettleResult,
  Settlement,
} from "@sluice/core/driver";
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
  /** Released ones, oldest first. */
  readonly #parked: { readonly message: RabbitMessage; readonly release: "returned" | "failed" }[] = [];
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
    const results = settlements.map((settlement): SettleResult => {
      const message = this.#out.get(settlement.delivery);
      if (!message || !this.#parts.channel.alive) return "lost";
      this.#out.delete(settlement.delivery);
      if (!settlement.accept) this.#parked.push({ message, release: settlement.release });
      else if (!this.#write((native) => native.ack(message))) return "lost";
      return "sent";
    });
    this.#wake();
    return results;
  }

  async flush(signal: AbortSignal): Promise<void> {
    const { channel, runtime } = this.#parts;
    if (channel.alive) await attempt(channel.native.prefetch(0), { runtime, doing: "cannot flush", signal });
  }

  async stop(_signal: AbortSignal): Promise<void> {
    this.#ended = true;
    this.#wake();
    this.#giveBack();
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
      const delivery = fromNative(message, { source, shard: queue, counts: true });
      this.#out.set(delivery, message);
      return delivery;
    } catch (error) {
      if (channel.alive) this.#lost(translate(error, `cannot read "${queue}"`));
      return undefined;
    }
  }

  async #close(signal: AbortSignal): Promise<void> {
    await this.stop(signal);
    // What is still out goes back too: uncounted where the broker can tell.
    for (const message of this.#out.values()) this.#write((native) => native.nack(message, false, true));
    this.#out.clear();
    await this.#parts.channel.close(signal);
    this.#finish(undefined);
  }

  /** In the order in which they were fetched, so that the queue looks as before. */
  #giveBack(): void {
    this.#parked.sort((one, other) => one.message.fields.deliveryTag - other.message.fields.deliveryTag);
    for (const { message, release } of this.#parked.splice(0)) {
      this.#write((native) =>
        release === "failed" ? native.reject(message, true) : native.nack(message, false, true),
      );
    }
  }

  #write(write: (native: Channel) => void): boolean {
    try {
      write(this.#parts.channel.native);
      return true;
    } catch {
      return false; // closed a moment ago: the broker has it back
    }
  }

  #lost(reason: DriverError): void {
    this.#ended = true;
    const out = [...this.#out.keys()];
    this.#out.clear();
    this.#parked.length = 0;
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
