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
import { ConsumeChannel } from "./consume-channel.ts";
import { Lane, type LaneSpec, type Tally } from "./lane.ts";
import type { Link } from "./link.ts";
import { Turns } from "./turns.ts";
import { settled } from "./waiting.ts";

export type Lease = NonNullable<Receiver["lease"]>;

export interface ReceiverParts {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly lease: Lease;
  readonly options: ReceiverOptions;
  /** How many messages wait in a queue. */
  readonly depth: (queue: string) => Promise<number>;
}

/** Queues that keep no order share channels where there are more of them: a channel costs ten times what a consumer costs. */
const mostChannels = 16;

/** Reads the queues of its sources, on a few channels. One dead channel finishes it; the connection lives on. */
export class RabbitReceiver implements Receiver {
  readonly lease: Lease;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #options: ReceiverOptions;
  readonly #lanes: readonly Lane[];
  readonly #byShard: ReadonlyMap<string, Lane>;
  readonly #turns: Turns;
  readonly #tally: Tally = { records: 0, bytes: 0 };
  /** Lanes with something in the inbox, the one whose turn it is first. */
  readonly #ready = new Set<Lane>();
  readonly #waiting = new Set<() => void>();
  #stopping: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #finished = false;

  private constructor(specs: readonly LaneSpec[], parts: ReceiverParts) {
    const { link, runtime, lease, options, depth } = parts;
    this.lease = lease;
    this.closed = this.#settled.promise;
    this.#options = options;
    const places = placesFor(specs, options.window);
    const shared = sharedChannels(specs, places, () => new ConsumeChannel(link, runtime));
    this.#lanes = specs.map(
      (spec, index) =>
        new Lane(spec, {
          runtime,
          tally: this.#tally,
          channel: () => shared[index % shared.length] ?? new ConsumeChannel(link, runtime),
          arrived: (lane) => this.#arrived(lane),
          lost: (handedOut, reason, error) => {
            if (handedOut.length > 0) options.lost(handedOut, reason);
            this.#fail(error);
          },
        }),
    );
    this.#byShard = new Map(this.#lanes.map((lane) => [lane.spec.shard, lane]));
    this.#turns = new Turns(this.#lanes, {
      window: options.window,
      places,
      runtime,
      depth,
      failed: (error) => this.#fail(error),
    });
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
      if (!lane) continue;
      lane.onHold = on;
      if (!on && lane.waiting) this.#ready.add(lane);
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

  /** One record of each lane in turn, as long as the window and its bytes allow. */
  #take(max: number): Delivery[] {
    const taken: Delivery[] = [];
    if (this.#ended) return taken;
    const { window, windowBytes } = this.#options;
    for (const lane of this.#ready) {
      if (taken.length >= max || this.#tally.records >= window) break;
      // A record larger than the whole window must pass too, alone.
      if (this.#tally.bytes >= windowBytes && this.#tally.bytes > 0) break;
      this.#ready.delete(lane);
      const delivery = lane.take();
      if (!delivery) continue;
      taken.push(delivery);
      if (lane.waiting) this.#ready.add(lane);
    }
    return taken;
  }

  #arrived(lane: Lane): void {
    this.#ready.add(lane);
    this.#wake();
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

/** With more queues than this, a window that is smaller counts what is handed out, and each queue may have one record here beside it. */
const mostInTurn = 64;

/**
 * How many lanes may be open at once: as many as the window has places, as long as taking turns is worth it. n.b. never in turns: what
 * dies with its channel. A window of one is strict always: whoever asks for it must know that nothing else is out.
 */
function placesFor(specs: readonly LaneSpec[], window: number): number {
  if (window >= specs.length || specs.some((spec) => spec.unroute)) return specs.length;
  return window === 1 || specs.length <= mostInTurn ? window : specs.length;
}

/** None where lanes open and close by themselves: ordered ones, and those that take turns. */
function sharedChannels(
  specs: readonly LaneSpec[],
  places: number,
  make: () => ConsumeChannel,
): readonly ConsumeChannel[] {
  const alone = places < specs.length || specs.length <= mostChannels || specs.some((spec) => spec.ordered);
  return alone ? [] : Array.from({ length: mostChannels }, make);
}
