import type { Context } from "../context.ts";
import type { Duration } from "../duration.ts";
import type { Message } from "../message.ts";
import type { Outcome } from "../outcome.ts";
import { Queue } from "../queue.ts";
import type { DrainOptions, Subscription, SubscriptionHealth } from "./subscription.ts";

/** Nobody saw it: it goes back without counting an attempt. */
const unread = "the consumer has ended";

/** A message pulled by a consumer. Settle it once; leaving an `await using` scope unsettled means retry. */
export class Delivered<Payload> {
  readonly payload: Payload;
  readonly context: Context;
  readonly #settle: (outcome: Outcome | undefined) => void;
  #settled = false;

  /** @internal */
  constructor(payload: Payload, context: Context, settle: (outcome: Outcome | undefined) => void) {
    this.payload = payload;
    this.context = context;
    this.#settle = settle;
  }

  get message(): Message {
    return this.context.message;
  }

  /** Whether one of the five outcomes was given. */
  get settled(): boolean {
    return this.#settled;
  }

  /** Handled. Like every outcome: a second one is ignored. */
  done(): void {
    this.#end(undefined);
  }

  /** Try again: counts an attempt; without a delay the policy says when. */
  retry(options?: { readonly delay?: Duration; readonly reason?: string }): void {
    if (!this.#settled) this.#end(this.context.retry(options));
  }

  /** Come back later without counting an attempt. */
  defer(delay: Duration, reason?: string): void {
    if (!this.#settled) this.#end(this.context.defer(delay, reason));
  }

  /** Give up: keep the message with the reason. */
  deadLetter(reason: string): void {
    if (!this.#settled) this.#end(this.context.deadLetter(reason));
  }

  /** Done with it, unhandled, on purpose; counted. */
  drop(reason: string): void {
    if (!this.#settled) this.#end(this.context.drop(reason));
  }

  #end(outcome: Outcome | undefined): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#settle(outcome);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.retry({ reason: "left unsettled" });
  }
}

/**
 * Pulls deliveries: `for await (const delivery of consumer)`. At most `concurrency` are handed out unsettled; of one key one.
 * Ending the loop drains the subscription; what was not settled is tried again.
 */
export class Consumer<Payload> implements AsyncIterableIterator<Delivered<Payload>> {
  readonly #waiting = new Queue<Delivered<Payload>>();
  readonly #open = new Set<Delivered<Payload>>();
  readonly #readers = new Queue<(result: IteratorResult<Delivered<Payload>, undefined>) => void>();
  #subscription: Subscription | undefined;
  #ended = false;

  /** @internal The handler under which the consumer subscribes: hands the delivery out and waits for its outcome. */
  readonly handle = (payload: Payload, context: Context): Promise<void | Outcome> =>
    new Promise((resolve) => {
      const delivery: Delivered<Payload> = new Delivered(payload, context, (outcome) => {
        this.#open.delete(delivery);
        resolve(outcome);
      });
      this.#open.add(delivery);
      const reader = this.#readers.shift();
      if (reader) reader({ done: false, value: delivery });
      else if (this.#ended) delivery.defer(0, unread);
      else this.#waiting.push(delivery);
    });

  /** @internal */
  attach(subscription: Subscription): void {
    this.#subscription = subscription;
    void subscription.closed.then(() => this.#end());
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next delivery, as soon as there is one; `done` once the consumer has ended. */
  next(): Promise<IteratorResult<Delivered<Payload>, undefined>> {
    for (let delivery = this.#waiting.shift(); delivery; delivery = this.#waiting.shift()) {
      if (!delivery.context.signal.aborted) return Promise.resolve({ done: false, value: delivery });
      // It was lost before anybody read it.
      delivery.defer(0, unread);
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  /** Ends the consumer: what is unsettled is tried again, then the subscription drains. Called by `break`. */
  async return(): Promise<IteratorResult<Delivered<Payload>, undefined>> {
    this.#end();
    for (const delivery of this.#open) delivery.retry({ reason: "the consumer has ended" });
    await this.drain();
    return { done: true, value: undefined };
  }

  /** Hands nothing more out, gives back what nobody read, waits for the unsettled until the deadline. */
  async drain(options: DrainOptions = {}): Promise<void> {
    this.#end();
    await this.#subscription?.drain(options);
  }

  close(): Promise<void> {
    return this.drain({ deadline: 0 });
  }

  health(): SubscriptionHealth | undefined {
    return this.#subscription?.health();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }

  #end(): void {
    this.#ended = true;
    for (const delivery of this.#waiting.drain()) delivery.defer(0, unread);
    for (const reader of this.#readers.drain()) reader({ done: true, value: undefined });
  }
}
