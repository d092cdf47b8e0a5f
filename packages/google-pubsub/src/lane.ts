import type { protos } from "@google-cloud/pubsub";
import { type Delivery, DriverError, type Filter, type Runtime, type Source } from "@sluice/core/driver";
import { settleIds } from "./acks.ts";
import type { Channels } from "./channels.ts";
import { isPassing, status, statusOf, translate } from "./errors.ts";
import { matches } from "./filter.ts";
import type { Holdings, Leased } from "./holdings.ts";
import { Inbox, leavesAt } from "./inbox.ts";
import { methods } from "./methods.ts";
import { shortName } from "./names.ts";
import { fromNative, publishedMs } from "./record.ts";
import { settled } from "./settled.ts";
import type { PullStream } from "./stream-channel.ts";

type ReceivedMessage = protos.google.pubsub.v1.IReceivedMessage;

/** A subscription that is read. */
export interface LaneSpec extends Leased {
  readonly source: Source;
  /** Checked again here. */
  readonly filter?: Filter | undefined;
}

export interface LaneHost {
  readonly channels: Channels;
  readonly runtime: Runtime;
  readonly holdings: Holdings;
  /** Messages and bytes that the service may push on one stream before we settle any. */
  readonly share: { readonly messages: number; readonly bytes: number };
  /** Longest time between two looks at an empty subscription; `undefined`: a stream tells. */
  readonly pollMs: number | undefined;
  /** How many more may be taken in. */
  room(): number;
  /** Something can be handed out. */
  arrived(lane: Lane): void;
  /** The lane wants to pull, as soon as there is room. */
  hungry(lane: Lane): void;
  failed(error: DriverError): void;
}

/** What is due later than this goes back to the broker until then. */
const horizonMs = 30_000;
const longestHopSeconds = 600;
/** What comes back from a hop may come late by this much. */
const marginMs = 10_000;

/** How far the broker's clock may be from ours. */
const skewMs = 5_000;

const firstPollMs = 10;
const firstPauseMs = 100;
const longestPauseMs = 2_000;
/** A subscription that cannot be read for so long fails its receiver. */
const patienceMs = 10_000;
/** How long the service may take to end a stream that we ended. */
const endingMs = 1_000;

/**
 * Reads one subscription. It pulls while there is a backlog, so that exactly what there is room for comes, and listens to a stream (or
 * looks again) when a pull came back empty. A stream that brings more than there is room for is ended, and the lane pulls again: an
 * emulator knows no flow control, and the streams of many subscriptions share one window. What came too much is kept and handed out
 * later; given back, it would look as if it had been tried.
 */
export class Lane {
  readonly spec: LaneSpec;
  readonly #host: LaneHost;
  readonly #inbox = new Inbox();
  #stream: PullStream | undefined;
  /** It ends because we said so. */
  #ours = false;
  #ending = settled<void>();
  #cancelTimer: (() => void) | undefined;
  #cancelDue: (() => void) | undefined;
  #pulling: Promise<boolean> | undefined;
  #pauseMs = firstPauseMs;
  #pollMs = firstPollMs;
  #failingSinceMs: number | undefined;
  #stopped = false;

  constructor(spec: LaneSpec, host: LaneHost) {
    this.spec = spec;
    this.#host = host;
  }

  /** The next one to hand out; lost ones are passed over. */
  take(): Delivery | undefined {
    const { holdings, runtime } = this.#host;
    for (;;) {
      const delivery = this.#inbox.shift(runtime.wallMs());
      if (delivery && !holdings.has(delivery)) continue;
      if (!delivery) this.#wakeWhenDue();
      return delivery;
    }
  }

  get waiting(): number {
    return this.#inbox.size;
  }

  /** Asks for up to `max` messages; there is room for all of them. Resolves to whether there may be more. */
  pull(max: number): Promise<boolean> {
    this.#pulling ??= this.#pull(max).finally(() => (this.#pulling = undefined));
    return this.#pulling;
  }

  /** No more intake. Resolves when what was on its way is here, and what core has not seen went back. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopped = true;
    await this.#giveBack(signal);
  }

  /** The same for now: nobody asks for what is here, and other members would like to have it. Then it is hungry again. */
  async rest(): Promise<void> {
    await this.#giveBack(undefined);
    if (!this.#stopped) this.#host.hungry(this);
  }

  async #giveBack(signal: AbortSignal | undefined): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelDue?.();
    this.#endStream();
    await Promise.all([this.#stream ? this.#ending.promise : undefined, this.#pulling]);
    await this.#host.holdings.release(this.#inbox.drain(), signal);
  }

  /** Without a word to the broker: it is gone. */
  drop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#cancelDue?.();
    this.#inbox.drain();
    this.#stream?.cancel();
  }

  async #pull(max: number): Promise<boolean> {
    const { channels, runtime } = this.#host;
    const { subscription } = this.spec;
    const sinceMs = runtime.monotonicMs();
    try {
      const { receivedMessages } = await channels.call(
        methods.pull,
        // n.b. one that waits could not be ended without leaving messages to nobody until their lease is over.
        { subscription, maxMessages: max, returnImmediately: true },
        { doing: `cannot pull from "${shortName(subscription)}"` },
      );
      this.#recovered();
      await this.#admit(receivedMessages, sinceMs);
      if (receivedMessages.length > 0) this.#pollMs = firstPollMs;
      if (this.#stopped || receivedMessages.length > 0) return !this.#stopped;
      if (this.#host.pollMs === undefined) this.#openStream();
      else this.#poll(this.#host.pollMs);
    } catch (error) {
      channels.broke();
      this.#failed(translate(error, "cannot pull"));
    }
    return false;
  }

  /** Resolves when what is not for us was settled. */
  async #admit(messages: readonly ReceivedMessage[], sinceMs: number): Promise<void> {
    const { holdings, runtime } = this.#host;
    const { subscription, filter } = this.spec;
    const unwanted: string[] = [];
    const hops: Promise<unknown>[] = [];
    for (const message of messages) {
      const ackId = message.ackId ?? "";
      const delivery = this.#delivery(message);
      const due = delivery.forward ? leavesAt(delivery.forward.notBefore, publishedMs(message)) : 0;
      const waitMs = due - runtime.wallMs();
      if (!matches(filter, delivery.headers)) unwanted.push(ackId);
      else if (waitMs > horizonMs) hops.push(this.#hop(ackId, waitMs));
      else {
        holdings.add(delivery, ackId, this.spec, sinceMs);
        this.#inbox.push(delivery, due);
      }
    }
    if (unwanted.length > 0) hops.push(settleIds(this.#host, subscription, unwanted, undefined));
    if (this.#inbox.size > 0) this.#host.arrived(this);
    await Promise.all(hops);
  }

  /**
   * n.b. while a connection is dead and nobody has noticed, the broker goes on handing out into it, and counts: what was published
   * before says nothing about crashes.
   */
  #delivery(message: ReceivedMessage): Delivery {
    const delivery = fromNative(message, this.spec.source, this.spec.subscription);
    const { brokenMs } = this.#host.channels;
    const trusted = brokenMs === 0 || publishedMs(message) > brokenMs + skewMs;
    return trusted ? delivery : { ...delivery, deliveries: undefined };
  }

  /** Leaves it with the broker until shortly before it is due, or for as long as a lease can be. */
  #hop(ackId: string, waitMs: number): Promise<unknown> {
    const seconds = Math.min(longestHopSeconds, Math.max(10, Math.floor((waitMs - marginMs) / 1_000)));
    return settleIds(this.#host, this.spec.subscription, [ackId], seconds);
  }

  #wakeWhenDue(): void {
    const { runtime } = this.#host;
    const ms = this.#inbox.nextMs(runtime.wallMs());
    this.#cancelDue?.();
    this.#cancelDue = ms === undefined ? undefined : runtime.timer(ms, () => this.#host.arrived(this));
  }

  #openStream(): void {
    const { channels, runtime, share } = this.#host;
    const { subscription, leaseMs } = this.spec;
    this.#ending = settled<void>();
    this.#ours = false;
    const request = {
      subscription,
      streamAckDeadlineSeconds: Math.ceil(leaseMs / 1_000),
      maxOutstandingMessages: share.messages,
      maxOutstandingBytes: share.bytes,
    };
    this.#stream = channels.stream(request, {
      message: ({ receivedMessages }) => this.#pushed(receivedMessages, runtime.monotonicMs()),
      ended: (code, details, lost) => {
        if (lost) channels.broke();
        this.#streamEnded(code, details);
      },
    });
  }

  #pushed(messages: readonly ReceivedMessage[], sinceMs: number): void {
    this.#recovered();
    void this.#admit(messages, sinceMs);
    if (this.#host.room() < 0) this.#endStream();
  }

  /** Half-closed, so that the service sends what it has begun to send and ends it in order. */
  #endStream(): void {
    const stream = this.#stream;
    if (!stream || this.#ours) return;
    this.#ours = true;
    stream.end();
    const cancel = this.#host.runtime.timer(endingMs, () => stream.cancel());
    void this.#ending.promise.then(cancel);
  }

  #streamEnded(code: number, details: string): void {
    this.#stream = undefined;
    this.#ending.resolve();
    if (this.#stopped) return;
    if (this.#ours) this.#host.hungry(this);
    else this.#failed(streamError(this.spec.subscription, code, details));
  }

  #failed(error: DriverError): void {
    if (this.#stopped) return;
    const now = this.#host.runtime.monotonicMs();
    this.#failingSinceMs ??= now;
    const code = statusOf(error);
    const passing = error.retryable || isPassing(code ?? status.unknown);
    if (!passing || now - this.#failingSinceMs > patienceMs) return this.#host.failed(error);
    this.#later(this.#pauseMs);
    this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2);
  }

  #recovered(): void {
    this.#failingSinceMs = undefined;
    this.#pauseMs = firstPauseMs;
  }

  #poll(longestMs: number): void {
    this.#later(this.#pollMs);
    this.#pollMs = Math.min(longestMs, this.#pollMs * 2);
  }

  #later(ms: number): void {
    this.#cancelTimer?.();
    // n.b. not in the background: gRPC lets go of the process between two calls, and a subscription must keep it.
    this.#cancelTimer = this.#host.runtime.timer(ms, () => this.#host.hungry(this));
  }
}

/** n.b. the service ends every stream after half an hour at the latest: that is no failure of the subscription. */
function streamError(subscription: string, code: number, details: string): DriverError {
  const native = Object.assign(new Error(details || "the stream ended"), { code, details });
  if (code === status.ok) return new DriverError("UNAVAILABLE", `google-pubsub: ${native.message}`, { cause: native });
  return translate(native, `cannot read "${shortName(subscription)}"`);
}
