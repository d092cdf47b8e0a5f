import type {
  Delivery,
  DriverError,
  Receiver,
  ReceiverOptions,
  Runtime,
  SettleResult,
  Settlement,
} from "@sluice/core/driver";
import type { Channels } from "./channels.ts";
import { Holdings } from "./holdings.ts";
import { Lane, type LaneHost, type LaneSpec } from "./lane.ts";
import { orAborted, settled } from "./settled.ts";

export interface ReceiverParts {
  readonly channels: Channels;
  readonly runtime: Runtime;
  readonly options: ReceiverOptions;
  readonly intake: "stream" | "pull";
  /** Whether streams keep to what they are told. */
  readonly flowControl: boolean;
  /** Runs when the receiver is closed, in order. */
  closing?(signal: AbortSignal): Promise<void>;
}

export type Lease = NonNullable<Receiver["lease"]>;

/** Pulls under way at once. */
const mostPulls = 16;
/** A pull asks for no more: what is pulled is ours, and other members want some too. */
const longestPull = 256;

const longestPollMs = 100;
/** An emulator knows no flow control, so few subscriptions are looked at; for many of them only streams are cheap. */
const fewLanes = 8;

/** Every lease can be prolonged again, as long as the broker keeps the message: seven days unless somebody said otherwise. */
const holdMs = 6 * 86_400_000;

/** Reads the subscriptions of its sources under one window. */
export class GooglePubsubReceiver implements Receiver {
  readonly lease: Lease;
  readonly closed: Promise<DriverError | undefined>;
  /** Resolves with the broker's first answer to any of its questions; to the error, if the receiver ended with it. */
  readonly begun: Promise<DriverError | undefined>;
  readonly #parts: ReceiverParts;
  readonly #settled = settled<DriverError | undefined>();
  readonly #answered = settled<undefined>();
  readonly #holdings: Holdings;
  readonly #lanes: readonly Lane[];
  /** Lanes with something to hand out, in turn. */
  readonly #ready = new Set<Lane>();
  /** Lanes that want to pull, in turn. */
  readonly #hungry = new Set<Lane>();
  readonly #waiting = new Set<() => void>();
  #pulls = 0;
  /** Calls of `receive` under way, and when the last one began or ended: who does not ask gets nothing put by. */
  #asking = 0;
  #askedMs: number;
  #resting: Promise<unknown> | undefined;
  #cancelWatch: (() => void) | undefined;
  /** Room that is spoken for by pulls under way. */
  #reserved = 0;
  #stopping: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #finished = false;

  constructor(specs: readonly LaneSpec[], parts: ReceiverParts) {
    const { channels, runtime, options } = parts;
    const leaseMs = Math.min(...specs.map((spec) => spec.leaseMs));
    this.#parts = parts;
    this.closed = this.#settled.promise;
    this.begun = Promise.race([this.closed, this.#answered.promise]);
    this.lease = { ms: leaseMs, renew: true, holdMs };
    this.#holdings = new Holdings({
      channels,
      runtime,
      leaseMs,
      lost: (deliveries) => options.lost(deliveries, "expired"),
      room: () => this.#feed(),
    });
    this.#lanes = specs.map((spec) => new Lane(spec, this.#hostOf(spec, specs.length)));
    for (const lane of this.#lanes) this.#hungry.add(lane);
    this.#askedMs = runtime.monotonicMs();
    this.#feed();
    this.#watch();
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[]> {
    this.#asking++;
    let taken = this.#take(max);
    while (taken.length === 0 && !signal.aborted && !this.#ended) {
      await this.#arrival(signal);
      taken = this.#take(max);
    }
    this.#asking--;
    this.#askedMs = this.#parts.runtime.monotonicMs();
    return taken;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results = await this.#holdings.settle(settlements);
    // Room in the window's bytes.
    this.#wake();
    return results;
  }

  async flush(_signal: AbortSignal): Promise<void> {
    // Every settlement is a request that was answered.
  }

  extend(deliveries: readonly Delivery[], ms: number): Promise<readonly Delivery[]> {
    return this.#holdings.extend(deliveries, ms);
  }

  stop(signal: AbortSignal): Promise<void> {
    this.#stopping ??= this.#stop(signal);
    return this.#stopping;
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  get #ended(): boolean {
    return this.#finished || this.#stopping !== undefined || this.#closing !== undefined;
  }

  async #stop(signal: AbortSignal): Promise<void> {
    this.#cancelWatch?.();
    this.#wake();
    await orAborted(Promise.all(this.#lanes.map((lane) => lane.stop(signal))), signal);
  }

  async #close(signal: AbortSignal): Promise<void> {
    await this.stop(signal);
    await this.#holdings.end(signal);
    await this.#parts.closing?.(signal);
    this.#finish(undefined);
  }

  #hostOf({ source }: LaneSpec, lanes: number): LaneHost {
    const { channels, runtime, options, flowControl, intake } = this.#parts;
    // n.b. with a window of one not even a stream with flow control will do: over two subscriptions it would bring two.
    // What waits for its time would fill the flow control of a stream for as long as it waits.
    const exact = intake === "pull" || options.window === 1 || (!flowControl && lanes <= fewLanes);
    return {
      channels,
      runtime,
      holdings: this.#holdings,
      share: {
        messages: Math.max(1, Math.floor(options.window / lanes)),
        bytes: Math.max(1024 * 1024, Math.floor(options.windowBytes / lanes)),
      },
      pollMs: exact || source.topic === undefined ? Math.max(longestPollMs, lanes * 20) : undefined,
      room: () => this.#room,
      arrived: (lane) => {
        this.#ready.add(lane);
        this.#wake();
      },
      hungry: (lane) => {
        this.#hungry.add(lane);
        this.#feed();
      },
      failed: (error) => this.#fail(error),
    };
  }

  get #awake(): boolean {
    return this.#asking > 0 || this.#parts.runtime.monotonicMs() - this.#askedMs < this.lease.ms / 2;
  }

  /** Gives back what waits here while nobody asks for it: a paused subscription must not keep it from the others. */
  #watch(): void {
    this.#cancelWatch = this.#parts.runtime.timer(this.lease.ms / 4, () => this.#look(), { background: true });
  }

  #look(): void {
    if (!this.#awake && !this.#resting && this.#hungry.size < this.#lanes.length) {
      const resting = this.#lanes.filter((lane) => !this.#hungry.has(lane)).map((lane) => lane.rest());
      this.#resting = Promise.all(resting).finally(() => (this.#resting = undefined));
    }
    this.#watch();
  }

  get #room(): number {
    return this.#parts.options.window - this.#holdings.size - this.#reserved;
  }

  /** Lets hungry lanes pull what there is room for: each its part, and not for a single message while many are worked on. */
  #feed(): void {
    const { window, windowBytes } = this.#parts.options;
    const enough = Math.max(1, Math.floor(window / 4));
    while (this.#hungry.size > 0 && this.#pulls < mostPulls && !this.#ended && this.#awake) {
      const room = this.#room;
      if (room <= 0 || this.#holdings.bytes >= windowBytes) return;
      if (room < enough && this.#ready.size > 0) return;
      const [lane] = this.#hungry;
      if (!lane) return;
      const part = Math.min(longestPull, Math.ceil(room / Math.min(this.#hungry.size, mostPulls)));
      this.#hungry.delete(lane);
      this.#pulls++;
      this.#reserved += part;
      void lane.pull(part).then((more) => {
        this.#answered.resolve(undefined);
        this.#pulls--;
        this.#reserved -= part;
        if (more) this.#hungry.add(lane);
        this.#feed();
      });
    }
  }

  /** One record of each lane in turn, as long as the window's bytes allow. */
  #take(max: number): Delivery[] {
    const taken: Delivery[] = [];
    if (this.#ended) return taken;
    for (let lane = first(this.#ready); lane && taken.length < max; lane = first(this.#ready)) {
      this.#ready.delete(lane);
      const delivery = lane.take();
      if (!delivery) continue;
      this.#holdings.handOut(delivery);
      taken.push(delivery);
      if (lane.waiting > 0) this.#ready.add(lane);
    }
    this.#feed();
    return taken;
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

  /** Failed = finished: core opens another one. */
  #fail(error: DriverError): void {
    if (this.#finished) return;
    this.#cancelWatch?.();
    for (const lane of this.#lanes) lane.drop();
    const out = this.#holdings.surrender();
    this.#finish(error);
    if (out.length > 0) this.#parts.options.lost(out, "disconnected");
  }

  #finish(error: DriverError | undefined): void {
    this.#finished = true;
    this.#settled.resolve(error);
    this.#wake();
  }
}

function first(lanes: ReadonlySet<Lane>): Lane | undefined {
  for (const lane of lanes) return lane;
  return undefined;
}
