import { untilAborted } from "./abort.ts";
import { ConnectionKeeper } from "./connection-keeper.ts";
import type { BusParts } from "./consume/open.ts";
import { makeForwarder } from "./consume/forwarder.ts";
import type { Subscription } from "./consume/subscription.ts";
import { withCause } from "./correlation.ts";
import { Declarations } from "./declarations.ts";
import { fromDriver } from "./driver-failure.ts";
import type { Capabilities, Connection, Driver, DriverEvent, Limits, Runtime } from "./driver/index.ts";
import { milliseconds } from "./duration.ts";
import { isSluiceError, SluiceError } from "./errors.ts";
import { events } from "./events.ts";
import { type Health, statusOf } from "./health.ts";
import { guarded, type Logger, silentLogger } from "./logger.ts";
import { nodeRuntime } from "./node-runtime.ts";
import type { ConnectOptions } from "./options.ts";
import type { PublishOptions, Receipt } from "./publish/options.ts";
import { Producer, type ProducerPort } from "./publish/producer.ts";
import { SendQueue } from "./publish/send-queue.ts";
import { Spies } from "./spies.ts";
import { Sweeper } from "./sweeper.ts";
import type { AnyTopic, Topic } from "./topic.ts";

/** How long one try to store a copy may take: a call that hangs must not hold up the others. Movers try again. */
const copyMs = 10_000;

/** How long a bus that delays nothing itself waits before it helps to forward; up to twice that. */
const soonMs = 10_000;

/** What is behind a bus: one connection, one send queue, the declared topology, the open subscriptions. */
export class BusCore {
  readonly driver: Driver;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly declarations: Declarations = new Declarations();
  readonly keeper: ConnectionKeeper;
  readonly queue: SendQueue;
  readonly subscriptions: Set<Subscription> = new Set();
  readonly spies: Spies = new Spies();
  readonly parts: BusParts;
  readonly #producers = new Map<AnyTopic, Producer>();
  readonly #port: ProducerPort;
  /** Delayed publishes that have their waiting place. */
  readonly #prepared = new Map<AnyTopic, "plain" | "delayed">();
  /** Publishes that wait for their topic or their schema. */
  readonly #pending = new Set<Promise<Receipt>>();
  #connection: Connection | undefined;
  #blocked = false;
  #state: "open" | "reconnecting" | "closed" = "reconnecting";
  #forwarder: Subscription | undefined;
  readonly #sweeper: Sweeper;
  #cancelForwarder: (() => void) | undefined;
  #abort: (() => void) | undefined;

  constructor(driver: Driver, options: ConnectOptions) {
    this.driver = driver;
    this.runtime = options.runtime ?? nodeRuntime;
    this.logger = options.logger ? guarded(options.logger) : silentLogger;
    const { publish = {}, middleware = {} } = options;
    this.keeper = this.#keeper(options);
    this.queue = new SendQueue({
      driver: driver.name,
      runtime: this.runtime,
      limits: () => this.limits,
      capabilities: () => this.capabilities,
      sender: () => this.keeper.sender(),
      buffer: { messages: publish.buffer?.messages ?? 10_000, bytes: publish.buffer?.bytes ?? 64 * 1024 * 1024 },
      report: (event) => {
        const error = event.kind === "flowing" ? undefined : event.error;
        events.state.publish({ system: driver.system, what: "sender", name: driver.name, state: event.kind, error });
      },
    });
    this.#port = {
      driver: driver.name,
      system: driver.system,
      runtime: this.runtime,
      limits: () => this.limits,
      capabilities: () => this.capabilities,
      queue: this.queue,
      middleware: middleware.publish ?? [],
      wire: middleware.wire ?? [],
      deadlineMs: milliseconds(publish.deadline ?? "30s", "publish.deadline"),
      prepare: (topic, delayed) => this.#prepare(topic, delayed),
      pending: (receipt) => {
        this.#pending.add(receipt);
        const forget = () => void this.#pending.delete(receipt);
        receipt.then(forget, forget);
      },
    };
    this.parts = this.#parts(middleware);
    this.#sweeper = new Sweeper({
      runtime: this.runtime,
      connection: () => this.keeper.current,
      swept: (count, error) => {
        if (error)
          this.logger.warn({ driver: driver.name, error }, "what dead broadcast instances left could not be removed");
        else this.logger.info({ driver: driver.name, count }, "removed what dead broadcast instances left");
      },
    });
  }

  #keeper(options: ConnectOptions): ConnectionKeeper {
    const { system, name } = this.driver;
    return new ConnectionKeeper({
      driver: this.driver,
      runtime: this.runtime,
      clientName: options.clientName ?? "sluice",
      provision: options.provision ?? "create",
      declarations: this.declarations,
      report: (event) => this.#report(event),
      state: (state, error) => {
        this.#state = state;
        this.#connection = this.keeper.current ?? this.#connection;
        if (state === "open") this.#sweeper.start();
        else this.#blocked = false;
        if (state === "reconnecting")
          this.logger.warn({ driver: name, error }, "the connection is lost; opening another");
        events.state.publish({ system, what: "connection", name, state, error });
      },
      warn: ({ resource, detail }) => this.logger.warn({ driver: name, resource }, detail),
    });
  }

  #parts(middleware: BusParts["middleware"]): BusParts {
    return {
      driver: this.driver,
      runtime: this.runtime,
      keeper: this.keeper,
      declarations: this.declarations,
      logger: this.logger,
      middleware,
      sendCopy: (item, then, signal) => {
        if (item.notBefore !== undefined) this.ensureForwarder("now");
        this.queue.enqueue(item, {
          deadlineMs: this.runtime.monotonicMs() + copyMs,
          internal: true,
          signal,
          onSettled: (result) => then(result.outcome === "stored" ? undefined : result.error),
        });
      },
      publish: (topic, payload, options, cause, join) =>
        this.producer(topic).publish(payload, withCause(options, cause) ?? {}, { cause }, join),
      settled: (work, group, fate, reason) => {
        if (!this.spies.active) return;
        this.spies.notify({ topic: work.topic.name, group, id: work.id, fate, reason });
      },
      opened: (subscription) => void this.subscriptions.add(subscription),
      closed: (subscription) => void this.subscriptions.delete(subscription),
    };
  }

  get capabilities(): Capabilities {
    return this.#connection?.capabilities ?? this.driver.capabilities;
  }

  /** Of the current connection, or of the last one. A bus has one from the beginning. */
  get limits(): Limits {
    if (!this.#connection) throw new TypeError("a bus without a connection has no limits");
    return this.#connection.limits;
  }

  get connection(): Connection | undefined {
    return this.keeper.current;
  }

  producer(topic: AnyTopic): Producer {
    let producer = this.#producers.get(topic);
    if (!producer) {
      // Typed again by the bus's own signature.
      producer = new Producer(topic as Topic, this.#port);
      this.#producers.set(topic, producer);
    }
    return producer;
  }

  publish(topic: AnyTopic, payload: unknown, options: PublishOptions = {}): Promise<Receipt> {
    return this.producer(topic).publish(payload, options);
  }

  /** Declares and provisions a topic before its first message. `undefined`: nothing to wait for. */
  #prepare(topic: AnyTopic, delayed: boolean): Promise<void> | undefined {
    const known = this.#prepared.get(topic);
    if (known === "delayed" || (known === "plain" && !delayed)) return undefined;
    this.declarations.addTopic(topic, delayed);
    return this.#provision(topic).then(() => {
      this.#prepared.set(topic, delayed ? "delayed" : "plain");
      this.ensureForwarder(delayed ? "now" : "soon");
    });
  }

  async #provision(topic: AnyTopic): Promise<void> {
    const limit = new AbortController();
    const cancel = this.runtime.timer(this.#port.deadlineMs, () => limit.abort());
    try {
      await this.keeper.provision(await this.keeper.connection(limit.signal), [topic.name]);
    } catch (error) {
      if (!limit.signal.aborted) throw fromDriver(error, "not-stored");
      const text = `${this.driver.name}: there was no connection within ${this.#port.deadlineMs} ms`;
      throw new SluiceError("TIMEOUT", text, { cause: error, outcome: "not-stored" });
    } finally {
      cancel();
    }
  }

  /**
   * Where delays are waiting places, somebody must move on what is due: every bus that uses delays helps. At once when this one
   * delays something; else soon, for what others left behind: a bus that lives for a moment must not disturb those that forward.
   */
  ensureForwarder(when: "now" | "soon"): void {
    const { delay } = this.capabilities;
    if (delay.group !== "forwarder" && delay.topic !== "forwarder") return;
    if (this.#forwarder || !this.declarations.anyDelays || this.keeper.closed) return;
    if (when === "soon") {
      const waitMs = soonMs * (1 + this.runtime.random());
      this.#cancelForwarder ??= this.runtime.timer(waitMs, () => this.ensureForwarder("now"), { background: true });
      return;
    }
    this.#cancelForwarder?.();
    const forwarder = makeForwarder(this.parts);
    this.#forwarder = forwarder;
    forwarder.start().catch((error: unknown) => {
      if (isSluiceError(error, "CLOSED")) return;
      this.#forwarder = undefined;
      this.logger.error({ driver: this.driver.name, error }, "the forwarder of delayed messages could not start");
    });
  }

  #report(event: DriverEvent): void {
    if (event.kind === "blocked") this.#blocked = true;
    if (event.kind === "unblocked") this.#blocked = false;
    if (event.kind === "data-loss" || event.kind === "gap") this.logger.error({ ...event }, event.detail);
    events.broker.publish({ ...event, system: this.driver.system });
  }

  health(): Health {
    const parts = {
      driver: this.driver.name,
      server: this.keeper.current?.server,
      connection: this.#state,
      blocked: this.#blocked,
      publish: this.queue.health(),
      subscriptions: [...this.subscriptions].map((subscription) => subscription.health()),
    };
    return { status: statusOf(parts), ...parts };
  }

  /** Ends a drain that is under way: signals abort, nothing is waited for. */
  abort(): void {
    this.#abort?.();
  }

  /** Subscriptions first (their copies need the queue), then what is queued, then the connection. */
  async close(deadlineMs: number): Promise<void> {
    const limit = new AbortController();
    this.#cancelForwarder?.();
    this.#sweeper.stop();
    const all = this.#forwarder ? [...this.subscriptions, this.#forwarder] : [...this.subscriptions];
    const abort = () => {
      for (const subscription of all) subscription.abort();
      limit.abort();
    };
    this.#abort = abort;
    const cancel = this.runtime.timer(deadlineMs + 2000, abort);
    await Promise.all(all.map((subscription) => subscription.drain({ deadline: deadlineMs })));
    while (this.#pending.size > 0 && !limit.signal.aborted) {
      await untilAborted(limit.signal, Promise.allSettled(this.#pending));
    }
    await this.queue.drain(limit.signal);
    this.queue.close();
    await this.keeper.close(limit.signal);
    cancel();
  }
}
