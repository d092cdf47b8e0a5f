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
import { sleep } from "@sluice/core/driver";
import { settleIds } from "./acks.ts";
import type { Calls } from "./channels.ts";
import { translate } from "./errors.ts";
import { Holdings, type Leased } from "./holdings.ts";
import { methods } from "./methods.ts";
import { shortName } from "./names.ts";
import type { Lease } from "./receiver.ts";
import { fromNative, publishedMs } from "./record.ts";
import { orAborted, settled } from "./settled.ts";

const mostPerPull = 256;
/** An empty answer of the service says little; several in a row say that there is nothing. */
const emptyPulls = 3;
const emptyPauseMs = 100;
/** What was published so long after the opening, by our clock, was not there at the opening, by anybody's. */
const skewMs = 60_000;

export interface DeadLetterParts {
  readonly channels: Calls;
  readonly runtime: Runtime;
  readonly options: ReceiverOptions;
  readonly source: DeadLetterSource;
  readonly leased: Leased;
}

/**
 * What was in a dead-letter subscription at opening, each message once. What comes again in this reading (a copy that was put back
 * because nobody asked for it) waits until the end, and then returns.
 */
export class DeadLetterReceiver implements Receiver {
  readonly lease: Lease;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: DeadLetterParts;
  readonly #holdings: Holdings;
  readonly #seen = new Set<string>();
  readonly #openedMs: number;
  #parked: string[] = [];
  #empty = 0;
  #ended = false;
  #closing: Promise<void> | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(parts: DeadLetterParts) {
    const { channels, runtime, options, leased } = parts;
    this.#parts = parts;
    this.closed = this.#settled.promise;
    this.lease = { ms: leased.leaseMs, renew: true, holdMs: 86_400_000 };
    this.#openedMs = runtime.wallMs();
    this.#holdings = new Holdings({
      channels,
      runtime,
      leaseMs: leased.leaseMs,
      lost: (deliveries) => options.lost(deliveries, "expired"),
      room: () => this.#wake(),
    });
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[] | undefined> {
    while (!signal.aborted && !this.#ended) {
      const room = Math.min(max, mostPerPull, this.#parts.options.window - this.#holdings.size);
      if (room <= 0) {
        await this.#change(signal);
        continue;
      }
      const taken = await this.#pull(room);
      if (taken.length > 0) return taken;
      if (this.#empty >= emptyPulls) return undefined;
      await sleep(this.#parts.runtime, emptyPauseMs, signal);
    }
    return this.#ended ? undefined : [];
  }

  settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    return this.#holdings.settle(settlements);
  }

  extend(deliveries: readonly Delivery[], ms: number): Promise<readonly Delivery[]> {
    return this.#holdings.extend(deliveries, ms);
  }

  async flush(_signal: AbortSignal): Promise<void> {
    // Every settlement is a request that was answered.
  }

  async stop(_signal: AbortSignal): Promise<void> {
    this.#ended = true;
    this.#wake();
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    await this.stop(signal);
    const { subscription } = this.#parts.leased;
    const parked = settleIds(this.#parts, subscription, this.#parked, 0, signal);
    await orAborted(Promise.all([parked, this.#holdings.end(signal)]), signal);
    this.#settled.resolve(undefined);
  }

  /** What is new in this reading. A failure ends the reading. */
  async #pull(max: number): Promise<Delivery[]> {
    const { channels, runtime, source, leased } = this.#parts;
    const { subscription } = leased;
    const doing = `cannot read "${shortName(subscription)}"`;
    const sinceMs = runtime.monotonicMs();
    const taken: Delivery[] = [];
    try {
      const request = { subscription, maxMessages: max, returnImmediately: true };
      const { receivedMessages } = await channels.call(methods.pull, request, { doing });
      this.#empty = receivedMessages.length === 0 ? this.#empty + 1 : 0;
      for (const received of receivedMessages) {
        const delivery = fromNative(received, source, subscription);
        const name = delivery.id ?? "";
        const ackId = received.ackId ?? "";
        if (this.#seen.has(name) || publishedMs(received) > this.#openedMs + skewMs) {
          this.#parked.push(ackId);
          continue;
        }
        this.#seen.add(name);
        this.#holdings.add(delivery, ackId, leased, sinceMs);
        this.#holdings.handOut(delivery);
        taken.push(delivery);
      }
      return taken;
    } catch (error) {
      this.#ended = true;
      const out = this.#holdings.surrender();
      if (out.length > 0) this.#parts.options.lost(out, "disconnected");
      this.#settled.resolve(translate(error, doing));
      throw error;
    }
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
