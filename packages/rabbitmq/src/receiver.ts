import {
  type Delivery,
  DriverError,
  type Receiver,
  type ReceiverOptions,
  type Runtime,
  type SettleResult,
  type Settlement,
  type Source,
} from "@sluice/core/driver";
import { Lane, type LaneSpec } from "./lane.ts";
import type { Link } from "./link.ts";
import { Turns } from "./turns.ts";
import { settled } from "./waiting.ts";

export type Lease = NonNullable<Receiver["lease"]>;

export interface ReceiverParts {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly lease: Lease;
  readonly options: ReceiverOptions;
}

/** Reads the queues of its sources, each on a channel of its own. One dead channel finishes it; the connection lives on. */
export class RabbitReceiver implements Receiver {
  readonly lease: Lease;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #options: ReceiverOptions;
  readonly #lanes: readonly Lane[];
  readonly #byShard: ReadonlyMap<string, Lane>;
  readonly #turns: Turns;
  readonly #waiting = new Set<() => void>();
  #next = 0;
  #stopping: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #finished = false;

  private constructor(specs: readonly LaneSpec[], { link, runtime, lease, options }: ReceiverParts) {
    this.lease = lease;
    this.closed = this.#settled.promise;
    this.#options = options;
    this.#lanes = specs.map(
      (spec) =>
        new Lane(spec, {
          link,
          runtime,
          arrived: () => this.#wake(),
          lost: (handedOut, reason, error) => {
            if (handedOut.length > 0) options.lost(handedOut, reason);
            this.#fail(error);
          },
        }),
    );
    this.#byShard = new Map(this.#lanes.map((lane) => [lane.spec.shard, lane]));
    this.#turns = new Turns(this.#lanes, options.window, runtime, (error) => this.#fail(error));
  }

  /** Resolves when the broker has registered every consumer that the window allows. */
  static async open(specs: readonly LaneSpec[], parts: ReceiverParts): Promise<RabbitReceiver> {
    const receiver = new RabbitReceiver(specs, parts);
    try {
      await receiver.#turns.start();
    } catch (error) {
      await receiver.close();
      throw error;
    }
    return receiver;
  }

  /** Those that may be given to other instances: none while lanes take turns here. */
  lanesOf(source: Source): readonly Lane[] {
    return this.#turns.rotating ? [] : this.#lanes.filter(({ spec }) => spec.source === source);
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[]> {
    let taken = this.#take(max);
    while (taken.length === 0 && !signal.aborted && !this.#ended) {
      await this.#arrival(signal);
      taken = this.#take(max);
    }
    return taken;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results: SettleResult[] = settlements.map(() => "lost");
    for (const [lane, indexes] of this.#perLane(settlements)) {
      const own = indexes.flatMap((index) => settlements[index] ?? []);
      const settledHere = this.#turns.settle(lane, own);
      const answers = settledHere instanceof Promise ? await settledHere : settledHere;
      for (const [at, index] of indexes.entries()) results[index] = answers[at] ?? "lost";
    }
    // Room in the window, or in its bytes.
    this.#wake();
    return results;
  }

  async flush(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.flush(signal)));
  }

  hold(shards: readonly string[], on: boolean): void {
    for (const shard of shards) {
      const lane = this.#byShard.get(shard);
      if (lane) lane.onHold = on;
    }
    if (!on) this.#wake();
  }

  stop(signal: AbortSignal): Promise<void> {
    this.#stopping ??= this.#stop(signal);
    return this.#stopping;
  }

  close(signal?: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  get #ended(): boolean {
    return this.#finished || this.#stopping !== undefined || this.#closing !== undefined;
  }

  async #stop(signal: AbortSignal): Promise<void> {
    this.#wake();
    this.#turns.end();
    await Promise.all(this.#lanes.map((lane) => lane.stop(signal)));
  }

  async #close(signal: AbortSignal | undefined): Promise<void> {
    this.#wake();
    this.#turns.end();
    await Promise.all(this.#lanes.map((lane) => lane.close(signal)));
    this.#finish(undefined);
  }

  /** One record of each lane in turn, as long as the window's bytes allow. */
  #take(max: number): Delivery[] {
    const taken: Delivery[] = [];
    if (this.#ended) return taken;
    let bytes = this.#lanes.reduce((sum, lane) => sum + lane.bytes, 0);
    let empty = 0;
    while (taken.length < max && empty < this.#lanes.length) {
      // A record larger than the whole window must pass too, alone.
      if (bytes >= this.#options.windowBytes && bytes > 0) break;
      this.#next = (this.#next + 1) % this.#lanes.length;
      const delivery = this.#lanes[this.#next]?.take();
      empty = delivery ? 0 : empty + 1;
      if (!delivery) continue;
      bytes += delivery.body?.length ?? 0;
      taken.push(delivery);
    }
    return taken;
  }

  #perLane(settlements: readonly Settlement[]): Map<Lane, number[]> {
    const groups = new Map<Lane, number[]>();
    for (const [index, { delivery }] of settlements.entries()) {
      const lane = this.#byShard.get(delivery.shard);
      if (!lane) continue;
      const group = groups.get(lane);
      if (group) group.push(index);
      else groups.set(lane, [index]);
    }
    return groups;
  }

  #arrival(signal: AbortSignal): Promise<void> {
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

  /** Failed = finished: the other lanes go too, and core opens another receiver. */
  #fail(error: DriverError): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#turns.end();
    for (const lane of this.#lanes) {
      const out = lane.surrender();
      if (out.length > 0) this.#options.lost(out, "disconnected");
    }
    this.#finish(error);
  }

  #finish(error: DriverError | undefined): void {
    this.#finished = true;
    this.#settled.resolve(error);
    this.#wake();
  }
}
