import {
  type BroadcastSource,
  type ConnectContext,
  type Delivery,
  DriverError,
  type Receiver,
  type ReceiverOptions,
  type SettleResult,
  type Settlement,
} from "@sluice/core/driver";
import { Cluster } from "ioredis";
import type { Link } from "../client.ts";
import { slotOf } from "../slots.ts";
import { settled, unlessAborted } from "../waiting.ts";
import type { PubsubSettings } from "./options.ts";
import { fromMessage } from "./record.ts";
import { channelOf } from "./topology.ts";

export interface PubsubReceiverParts {
  /** A socket of its own. */
  readonly link: Link;
  /** The connection that it belongs to. */
  readonly publisher: Link;
  readonly settings: PubsubSettings;
  readonly context: ConnectContext;
  readonly options: ReceiverOptions;
  readonly sources: readonly BroadcastSource[];
  /** How often each broadcast instance was opened before. */
  readonly opened: Map<string, number>;
}

/** n.b. what it holds in memory is the whole message, not its body alone. */
interface Waiting {
  readonly delivery: Delivery;
  readonly bytes: number;
}

/** How often drops are told while they go on. */
const tellMs = 1_000;

/**
 * Subscribes channels and takes what comes off the socket at once: a server whose client does not read closes the connection. What
 * handlers are too slow for is dropped, counted and told.
 */
export class PubsubReceiver implements Receiver {
  readonly lease: undefined;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: PubsubReceiverParts;
  readonly #channels: ReadonlyMap<string, readonly BroadcastSource[]>;
  readonly #inbox: Waiting[] = [];
  readonly #held = new Set<Delivery>();
  #inboxBytes = 0;
  #bytes = 0;
  #wake: (() => void) | undefined;
  #cancelPing: (() => void) | undefined;
  #cancelTell: (() => void) | undefined;
  #dropped = 0;
  #stopped = false;
  #finished = false;

  constructor(parts: PubsubReceiverParts) {
    this.#parts = parts;
    this.closed = this.#settled.promise;
    const channels = new Map<string, BroadcastSource[]>();
    for (const source of parts.sources) {
      const channel = channelOf(parts.settings.prefix, source.topic);
      const list = channels.get(channel);
      if (list) list.push(source);
      else channels.set(channel, [source]);
    }
    this.#channels = channels;
    for (const link of [parts.link, parts.publisher]) void link.closed.then((reason) => reason && this.#fail(reason));
  }

  /** Live when it resolves. @throws DriverError */
  async start(): Promise<void> {
    const { link, settings, sources, opened, context } = this.#parts;
    const { sharded } = settings;
    link.native.on(sharded ? "smessageBuffer" : "messageBuffer", (channel: Buffer, message: Buffer) =>
      this.#arrived(channel.toString(), message),
    );
    if (sharded) this.#watchSlots();
    const names = [...this.#channels.keys()];
    if (sharded) {
      // One call each: channels of several slots cannot be in one.
      await Promise.all(names.map((name) => link.ask(subscribing([name]), (client) => client.ssubscribe(name))));
    } else await link.ask(subscribing(names), (client) => client.subscribe(...names));
    this.#ping();
    for (const source of sources) {
      const label = [source.topic, source.broadcast, source.instance].join("\0");
      const count = (opened.get(label) ?? 0) + 1;
      opened.set(label, count);
      if (count === 1) continue;
      const detail = `redis-pubsub: broadcast "${source.broadcast}" of topic "${source.topic}" was away; what was sent meanwhile did not reach it`;
      context.report({ kind: "gap", source, detail });
    }
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[]> {
    for (;;) {
      const { window, windowBytes } = this.#parts.options;
      const full = this.#held.size > 0 && this.#bytes >= windowBytes;
      const taken = full ? [] : this.#take(Math.min(max, window - this.#held.size));
      if (taken.length > 0 || signal.aborted || this.#finished || (this.#stopped && this.#inbox.length === 0))
        return taken;
      await unlessAborted(new Promise<void>((resolve) => (this.#wake = resolve)), signal);
    }
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results = settlements.map(({ delivery }): SettleResult => {
      if (!this.#held.delete(delivery)) return "lost";
      this.#bytes -= delivery.body?.byteLength ?? 0;
      return "sent";
    });
    this.#changed();
    return results;
  }

  async flush(_signal: AbortSignal): Promise<void> {
    // The server knows nothing of settlements.
  }

  async stop(_signal: AbortSignal): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancelPing?.();
    this.#parts.link.destroy();
    this.#changed();
  }

  async close(signal: AbortSignal): Promise<void> {
    await this.stop(signal);
    this.#finish(undefined);
  }

  #take(max: number): readonly Delivery[] {
    return this.#inbox.splice(0, max).map(({ delivery, bytes }) => {
      this.#inboxBytes -= bytes;
      this.#held.add(delivery);
      this.#bytes += delivery.body?.byteLength ?? 0;
      return delivery;
    });
  }

  #arrived(channel: string, message: Buffer): void {
    if (this.#stopped) return;
    const bytes = message.byteLength;
    for (const source of this.#channels.get(channel) ?? []) {
      this.#inbox.push({ delivery: fromMessage({ channel, message }, source), bytes });
      this.#inboxBytes += bytes;
      while (this.#overflows()) this.#drop();
    }
    this.#changed();
  }

  #overflows(): boolean {
    const { inbox, inboxBytes } = this.#parts.settings;
    return this.#inbox.length > inbox || (this.#inboxBytes > inboxBytes && this.#inbox.length > 1);
  }

  #drop(): void {
    const { settings, context } = this.#parts;
    const gone = settings.overflow === "oldest" ? this.#inbox.shift() : this.#inbox.pop();
    this.#inboxBytes -= gone?.bytes ?? 0;
    this.#dropped++;
    this.#cancelTell ??= context.runtime.timer(tellMs, () => this.#tell(), { background: true });
  }

  #tell(): void {
    this.#cancelTell?.();
    this.#cancelTell = undefined;
    const count = this.#dropped;
    this.#dropped = 0;
    if (count === 0) return;
    const { overflow, inbox, inboxBytes } = this.#parts.settings;
    const detail = `redis-pubsub: ${count} messages were dropped, the ${overflow} first: more than ${inbox} or ${inboxBytes} bytes of them waited for handlers`;
    this.#parts.context.report({ kind: "gap", count, detail });
  }

  /** A half-open connection is silent like one without messages: only a question tells them apart. */
  #ping(): void {
    const { link, context, settings } = this.#parts;
    this.#cancelPing = context.runtime.timer(
      settings.answerMs,
      () => {
        if (!link.alive || this.#stopped) return;
        link
          .ask("cannot ping", (client) => client.ping())
          .then(
            () => this.#ping(),
            () => undefined, // `ask` ended the connection.
          );
      },
      { background: true },
    );
  }

  /** n.b. a slot moves, or the socket to one node ends: ioredis subscribes again, and says nothing of what it missed. */
  #watchSlots(): void {
    const { native } = this.#parts.link;
    // One node only: the server ends the subscription.
    if (!(native instanceof Cluster)) return void native.on("moved", () => this.#movedAway());
    const masters = () => [...this.#channels.keys()].map((channel) => native.slots[slotOf(channel)]?.[0]).join();
    const before = masters();
    native.on("-subscriber", () => this.#movedAway());
    native.on("subscribersReady", () => {
      if (masters() !== before) this.#movedAway();
    });
  }

  #movedAway(): void {
    if (this.#stopped) return;
    this.#parts.link.fail(
      new DriverError("LOST", "redis-pubsub: a subscription ended, as when a slot moves; it is opened again"),
    );
  }

  #changed(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #fail(error: DriverError): void {
    if (this.#finished || this.#stopped) return;
    // What arrived is here, but a receiver that failed is finished: the gap says that something was missed.
    const held = [...this.#held];
    this.#held.clear();
    if (held.length > 0) this.#parts.options.lost(held, "disconnected");
    this.#finish(error);
  }

  #finish(error: DriverError | undefined): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#stopped = true;
    this.#cancelPing?.();
    this.#tell();
    this.#parts.link.destroy();
    this.#settled.resolve(error);
    this.#changed();
  }
}

function subscribing([first, ...others]: readonly string[]): string {
  return `cannot subscribe to "${first}"${others.length > 0 ? ` and ${others.length} other channels` : ""}`;
}
