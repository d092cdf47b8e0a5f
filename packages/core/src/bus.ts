import { BusCore } from "./bus-core.ts";
import { type BatchHandler, Batcher } from "./consume/batch.ts";
import { Consumer } from "./consume/consumer.ts";
import { type BatchRun, openSubscription } from "./consume/open.ts";
import type { BatchOptions, ConsumerOptions, SubscribeOptions } from "./consume/options.ts";
import type { Run } from "./consume/runner.ts";
import type { DrainOptions, Event, Subscription } from "./consume/subscription.ts";
import type { Context, Handler } from "./context.ts";
import { DeadLetters } from "./dead-letters.ts";
import { fromDriver } from "./driver-failure.ts";
import type { Capabilities, Driver, Finding, Limits } from "./driver/index.ts";
import { milliseconds } from "./duration.ts";
import { compose } from "./middleware.ts";
import { explain } from "./explain.ts";
import { SluiceError } from "./errors.ts";
import { type Health, livezResponse, readyzResponse } from "./health.ts";
import type { ConnectOptions, RunOptions } from "./options.ts";
import { compare, type Plan, planOf } from "./plan.ts";
import type { PublishArguments, PublishOptions, Receipt } from "./publish/options.ts";
import type { Producer } from "./publish/producer.ts";
import { untilSignal } from "./run.ts";
import { seek, type SeekOptions } from "./seek.ts";
import type { Settled, SettledMatch } from "./spies.ts";
import { type AnyTopic, checkName, type OutputOf, type Topic } from "./topic.ts";

/** What a handler of several topics gets: one member per topic, told apart by `topic`. */
export type EventOf<Topics extends readonly AnyTopic[]> = {
  [Index in keyof Topics]: Event<Topics[Index]["name"], OutputOf<Topics[Index]>>;
}[number];

/** Everything a service does with a broker. Made by {@link connect}. */
export class Bus<C extends Capabilities = Capabilities, NativeMessage = unknown, NativeClient = unknown> {
  readonly #core: BusCore;
  #closing: Promise<void> | undefined;
  #closed!: () => void;
  readonly #whenClosed: Promise<void>;

  /** @internal Use `connect`. */
  constructor(core: BusCore) {
    this.#core = core;
    this.#whenClosed = new Promise((resolve) => (this.#closed = resolve));
  }

  /** What this broker, version and configuration can do: at least what the driver's literal says. */
  get capabilities(): Capabilities {
    return this.#core.capabilities;
  }

  get limits(): Limits {
    return this.#core.limits;
  }

  /** Product and version as the broker says; `undefined` while there is no connection. */
  get server(): string | undefined {
    return this.#core.connection?.server;
  }

  /** The client library's own object; `undefined` while there is no connection. */
  get native(): NativeClient | undefined {
    return this.#core.connection?.native as NativeClient | undefined;
  }

  /**
   * Publishes one message; resolves on the broker's confirmation. Errors: see {@link Producer.send}.
   */
  publish<Input, Output>(
    topic: Topic<Input, Output>,
    payload: Input,
    ...[options]: PublishArguments<C>
  ): Promise<Receipt> {
    return this.#core.publish(topic, payload, options as PublishOptions | undefined);
  }

  /** The producer of a topic: `send`, and `sendBatch` with a result per message. */
  producer<Input, Output>(topic: Topic<Input, Output>): Producer<Input, Output, C> {
    return this.#core.producer(topic) as unknown as Producer<Input, Output, C>;
  }

  /**
   * Runs a handler for each message of a group, or of a broadcast. Resolves when it is live: a message sent now arrives.
   * Several topics give the handler `{ topic, payload }`.
   *
   * @throws SluiceError `CONFIG`, `UNSUPPORTED` before anything is opened; `NOT_FOUND`, `MISMATCH`, `FORBIDDEN`, `UNAVAILABLE`
   */
  subscribe<Input, Output>(
    topic: Topic<Input, Output>,
    options: SubscribeOptions<C>,
    handler: Handler<Output, C, NativeMessage>,
  ): Promise<Subscription>;
  subscribe<const Topics extends readonly AnyTopic[]>(
    topics: Topics,
    options: SubscribeOptions<C>,
    handler: Handler<EventOf<Topics>, C, NativeMessage>,
  ): Promise<Subscription>;
  async subscribe(
    topics: unknown,
    options: SubscribeOptions<C>,
    handler: (payload: never, context: Context<C, NativeMessage>) => unknown,
  ): Promise<Subscription> {
    const many = Array.isArray(topics);
    const list = (many ? topics : [topics]) as readonly AnyTopic[];
    const call = handler as unknown as Run;
    const run: Run = many ? (payload, context) => call({ topic: context.message.topic, payload }, context) : call;
    return this.#open(list, options as SubscribeOptions, run);
  }

  /**
   * Runs a handler for many messages at once. Each message keeps its own fate; see {@link BatchHandler}. With ordering a call
   * holds at most one message of a key.
   */
  async subscribeBatch<Input, Output>(
    topic: Topic<Input, Output>,
    options: BatchOptions<C>,
    handler: BatchHandler<Output>,
  ): Promise<Subscription> {
    // The conditional options only forbid or demand; what is left is a subset of all options.
    return this.#openBatch(topic, options as BatchOptions, handler);
  }

  async #openBatch<Output>(
    topic: AnyTopic,
    options: BatchOptions,
    handler: BatchHandler<Output>,
  ): Promise<Subscription> {
    const { size = 100, wait = "50ms" } = options.batch ?? {};
    const middleware = [...(this.#core.parts.middleware.batch ?? []), ...(options.middleware?.batch ?? [])];
    // Middleware takes the items of any topic.
    const call = handler as BatchHandler<unknown>;
    const batcher = new Batcher<unknown>(
      { runtime: this.#core.runtime, size, waitMs: milliseconds(wait, "batch.wait") },
      middleware.length > 0 ? compose(middleware, call) : call,
    );
    const concurrency = options.concurrency ?? 2 * size;
    const subscription = await this.#open([topic], { ...options, concurrency }, batcher.handle as Run, { middleware });
    void subscription.closed.then(() => batcher.close());
    return subscription;
  }

  /** Pulls deliveries instead: `for await (const delivery of consumer)`. Resolves when it is live. */
  async consumer<Input, Output>(topic: Topic<Input, Output>, options: ConsumerOptions<C>): Promise<Consumer<Output>> {
    const consumer = new Consumer<Output>();
    const { signal, ...pull } = { timeout: 0, ...(options as ConsumerOptions) };
    consumer.attach(await this.#open([topic], pull, consumer.handle as Run));
    // The consumer's own drain: what nobody read goes back at once.
    signal?.addEventListener("abort", () => void consumer.drain(), { once: true });
    if (signal?.aborted) void consumer.drain();
    return consumer;
  }

  async #open(
    topics: readonly AnyTopic[],
    options: SubscribeOptions,
    run: Run,
    batch?: BatchRun,
  ): Promise<Subscription> {
    this.#checkOpen();
    const subscription = await openSubscription(this.#core.parts, topics, options, run, batch);
    this.#core.ensureForwarder("soon");
    return subscription;
  }

  #checkOpen(): void {
    if (this.#closing) throw new SluiceError("CLOSED", `${this.#core.driver.name}: the bus is closed`);
  }

  /** The dead letters of one group: count, list, redrive, discard. */
  deadLetters(topic: AnyTopic, options: { readonly group: string }): DeadLetters {
    const { driver, runtime, keeper, parts, declarations } = this.#core;
    checkName("group", options.group);
    if (driver.capabilities.deadLetter === "absent") {
      throw new SluiceError(
        "UNSUPPORTED",
        `${driver.name}: this broker has no dead letters; use a group on another broker`,
      );
    }
    declarations.addTopic(topic);
    declarations.addGroup(topic, { name: options.group, start: "now", retry: true, deadLetter: true });
    const source = { topic: topic.name, group: options.group, deadLetter: true } as const;
    return new DeadLetters({ driver: driver.name, runtime, keeper, sendCopy: parts.sendCopy, source });
  }

  /** For tests: resolves with the last word about the next message that matches. Call it before the message is published. */
  settled(topic: AnyTopic, match: SettledMatch = {}): Promise<Settled> {
    return this.#core.spies.wait(topic.name, match);
  }

  /**
   * Moves a whole group of a topic: what it handles next. The group's own entry (retries, redriven messages) stays as it is.
   *
   * @throws SluiceError `UNSUPPORTED` where the broker keeps nothing to go back to; `BUSY` while the group has members, where they
   * cannot be moved; `NOT_FOUND`
   */
  async seek(topic: AnyTopic, options: SeekOptions): Promise<void> {
    this.#checkOpen();
    return seek(this.#core, topic, options);
  }

  /** What must exist on the broker for everything that this bus declared so far, and for these topics. Needs no broker. */
  plan(topics: readonly AnyTopic[] = []): Plan {
    return planOf(this.#core.driver, this.#core.declarations.with(topics).snapshot());
  }

  /**
   * Makes (or checks, by `connect`'s `provision`) what these topics and the groups that they name need, before anybody publishes or
   * subscribes: for deployments. Resolves when all of it is usable.
   *
   * @throws SluiceError `NOT_FOUND`, `MISMATCH` or `FORBIDDEN`, naming every resource
   */
  async provision(topics: readonly AnyTopic[], signal?: AbortSignal): Promise<void> {
    this.#checkOpen();
    for (const topic of topics) this.#core.declarations.addTopic(topic);
    const connection = await this.#core.keeper.connection(signal);
    const names = topics.map(({ name }) => name);
    await this.#core.keeper.provision(connection, names).catch((error: unknown) => {
      throw fromDriver(error);
    });
  }

  /** Compares the plan with the broker, and changes nothing: a finding per resource. */
  async compare(topics: readonly AnyTopic[] = [], signal?: AbortSignal): Promise<readonly Finding[]> {
    this.#checkOpen();
    const { resources } = this.plan(topics);
    const connection = await this.#core.keeper.connection(signal);
    return compare(connection, resources, signal);
  }

  /** In words: the way of a message out and in, with the middleware of this bus in its order. A subscription adds its own. */
  explain(): string {
    return explain(this.#core.driver.name, this.#core.parts.middleware);
  }

  health(): Health {
    return this.#core.health();
  }

  /** A fetch-style handler: `200` while restarting the process would not help. */
  livez(_request?: Request): Response {
    return livezResponse(this.health());
  }

  /** A fetch-style handler: `200` with the health as JSON while work should be sent here, else `503`. */
  readyz(_request?: Request): Response {
    return readyzResponse(this.health());
  }

  /**
   * Runs until SIGTERM or SIGINT, or until `close`; then drains with a deadline. A second signal ends the drain at once.
   * Resolves when the bus is closed.
   */
  async run(options: RunOptions = {}): Promise<void> {
    const { signals = ["SIGTERM", "SIGINT"], deadline = "25s" } = options;
    await untilSignal(signals, this.#whenClosed, {
      first: () => this.drain({ deadline }),
      second: () => this.#core.abort(),
    });
    await this.#whenClosed;
  }

  /** Stops in order: subscriptions drain, queued messages go out, the connection closes. */
  drain(options: DrainOptions = {}): Promise<void> {
    const deadlineMs = milliseconds(options.deadline ?? "25s", "drain deadline");
    return (this.#closing ??= this.#core.close(deadlineMs).finally(() => this.#closed()));
  }

  /** `drain` without patience for running handlers: their signals abort now. */
  close(): Promise<void> {
    return this.drain({ deadline: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }
}

/**
 * Connects to a broker.
 *
 * @throws SluiceError `UNAVAILABLE`, `UNAUTHORIZED`, `CONFIG` within 10 s: the first attempt is the only one, so that a wrong
 * address or password is seen at once. A connection that is lost later is opened again.
 */
export async function connect<C extends Capabilities, NativeMessage, NativeClient>(
  driver: Driver<C, NativeMessage, NativeClient>,
  options: ConnectOptions = {},
): Promise<Bus<C, NativeMessage, NativeClient>> {
  const core = new BusCore(driver, options);
  await core.keeper.open(options.signal);
  return new Bus(core);
}
