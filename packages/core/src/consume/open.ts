import type { ConnectionKeeper } from "../connection-keeper.ts";
import type { Context } from "../context.ts";
import type { Declarations } from "../declarations.ts";
import {
  type Capabilities,
  type Driver,
  DriverError,
  type GroupSource,
  type Runtime,
  type Source,
} from "../driver/index.ts";
import { events, type SettledFate } from "../events.ts";
import { SluiceError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { nameOf, readers } from "../explain.ts";
import { type BatchMiddleware, compose, type Middleware } from "../middleware.ts";
import type { Outcome } from "../outcome.ts";
import type { AnyTopic } from "../topic.ts";
import { decode } from "./decode.ts";
import { Engine } from "./engine.ts";
import { type ContextHost, unusedOutcome } from "./handler-context.ts";
import { Intake, type Opened } from "./intake.ts";
import { Mover, type SendCopy } from "./mover.ts";
import type { SubscribeOptions } from "./options.ts";
import { Quarantine } from "./quarantine.ts";
import type { Run } from "./runner.ts";
import { type Settings, settingsOf } from "./settings.ts";
import { Subscription } from "./subscription.ts";
import { TimeLimits } from "./time-limits.ts";
import type { Work } from "./work.ts";

/** What every subscription needs of its bus. */
export interface BusParts {
  readonly driver: Driver;
  readonly runtime: Runtime;
  readonly keeper: ConnectionKeeper;
  readonly declarations: Declarations;
  readonly logger: Logger;
  readonly middleware: Middleware;
  readonly sendCopy: SendCopy;
  readonly publish: ContextHost["publish"];
  /** A final word about a message, for spies. */
  settled(work: Work, group: string, fate: SettledFate, reason: string | undefined): void;
  opened(subscription: Subscription): void;
  closed(subscription: Subscription): void;
}

/**
 * Puts a subscription together and opens it: settings and capability checks first, before anything touches the broker.
 * Resolves when it is live.
 */
export async function openSubscription(
  bus: BusParts,
  topics: readonly AnyTopic[],
  options: SubscribeOptions,
  run: Run,
  batch?: BatchRun,
): Promise<Subscription> {
  const settings = settingsOf(bus.driver, topics, options);
  checkCount(bus, topics);
  declare(bus, topics, settings);
  const sources = sourcesOf(bus, topics, settings);
  const wire = bus.middleware.wire ?? [];
  const middleware = {
    wire,
    delivery: [...(bus.middleware.delivery ?? []), ...(options.middleware?.delivery ?? [])],
    attempt: [...(bus.middleware.attempt ?? []), ...(options.middleware?.attempt ?? [])],
  };
  const subscription: Subscription = assemble(bus, {
    topics,
    settings,
    sources,
    middleware,
    run,
    batch,
    decode: (work, context) => decode(work, context, bus.driver.system, wire),
  });
  bus.opened(subscription);
  const drain = () => void subscription.drain();
  options.signal?.addEventListener("abort", drain, { once: true });
  void subscription.closed.then(() => options.signal?.removeEventListener("abort", drain));
  await subscription.start();
  if (options.signal?.aborted) drain();
  return subscription;
}

function checkCount({ driver, keeper }: BusParts, topics: readonly AnyTopic[]): void {
  const most = keeper.current?.limits.sourcesPerReceiver ?? Number.POSITIVE_INFINITY;
  if (topics.length > 0 && topics.length <= most) return;
  const text = `${driver.name}: a subscription to ${topics.length} topics; give 1 to ${most} of them, or make several subscriptions`;
  throw new SluiceError("CONFIG", text);
}

function declare({ declarations }: BusParts, topics: readonly AnyTopic[], settings: Settings): void {
  for (const topic of topics) {
    declarations.addTopic(topic);
    if (settings.broadcast) continue;
    const { name, start, deadLetter, nativeFilter } = settings;
    const filter = nativeFilter ? { filter: nativeFilter } : {};
    declarations.addGroup(topic, { name, start, retry: true, deadLetter, ...filter });
  }
}

function sourcesOf(bus: BusParts, topics: readonly AnyTopic[], settings: Settings): Source[] {
  const { nativeFilter } = settings;
  const filter = nativeFilter ? { filter: nativeFilter } : {};
  const instance = bus.runtime.id();
  return topics.map((topic): Source => {
    if (settings.broadcast) return { topic: topic.name, broadcast: settings.name, instance, ...filter };
    return { topic: topic.name, group: settings.name, start: settings.start, ...filter } satisfies GroupSource;
  });
}

/** What is special about one subscription. */
export interface Plan {
  readonly topics: readonly AnyTopic[];
  readonly settings: Settings;
  readonly sources: readonly Source[];
  readonly middleware: Required<Pick<Middleware, "wire" | "delivery" | "attempt">>;
  readonly run: Run;
  readonly batch?: BatchRun | undefined;
  readonly decode: (work: Work, context: Context) => unknown;
}

/** Present where the handler is one of batches. */
export interface BatchRun {
  readonly middleware: readonly BatchMiddleware[];
}

/** Puts the parts of a subscription together; nothing touches the broker before `start`. */
export function assemble(bus: BusParts, plan: Plan): Subscription {
  const { runtime, keeper, driver } = bus;
  const { settings, sources, topics, run } = plan;
  const { wire, delivery, attempt } = plan.middleware;
  const capabilities = keeper.current?.capabilities ?? driver.capabilities;
  const engine: Engine = new Engine({
    runtime,
    settings,
    capabilities,
    topics: new Map(topics.map((topic) => [topic.name, topic])),
    settleBatch: keeper.current?.limits.settleBatch ?? 256,
    delayMs: keeper.current?.limits.delayMs ?? Number.POSITIVE_INFINITY,
    mover: moverOf(bus, capabilities, settings, (on) => engine.block(on)),
    host: hostOf(bus, settings, plan.batch !== undefined),
    decode: plan.decode,
    run: attempt.length > 0 ? wrapped(attempt, run) : run,
    delivery: delivery.length > 0 ? wrappedDelivery(delivery) : undefined,
    room: () => intake.wake(),
    ...observers(bus, settings),
  });
  const intake: Intake = new Intake({
    runtime,
    engine,
    window: settings.window,
    windowBytes: settings.windowBytes,
    canRelease: settings.transactional || capabilities.release !== "absent",
    open: (window, signal) => openReceiver(bus, sources, settings, engine, window, signal),
    state: (state, error) => {
      subscription.report(state, error);
      events.state.publish({ system: driver.system, what: "subscription", name: settings.name, state, error });
    },
  });
  const subscription: Subscription = new Subscription({
    driver,
    runtime,
    keeper,
    settings,
    topics,
    sources,
    engine,
    intake,
    limits: new TimeLimits(runtime, engine, settings.timeoutMs),
    chain: [
      ...delivery.map(nameOf),
      "retry and dead letter",
      ...readers({ wire }),
      ...attempt.map(nameOf),
      ...(plan.batch?.middleware.map(nameOf) ?? []),
    ],
    canRelease: settings.transactional || capabilities.release !== "absent",
    closed: () => bus.closed(subscription),
  });
  return subscription;
}

function hostOf(bus: BusParts, settings: Settings, batch: boolean): ContextHost {
  return {
    timeoutMs: settings.timeoutMs,
    group: settings.name,
    batch,
    transactional: settings.transactional,
    logger: bus.logger,
    wallMs: () => bus.runtime.wallMs(),
    monotonicMs: () => bus.runtime.monotonicMs(),
    publish: bus.publish,
  };
}

function moverOf(
  bus: BusParts,
  capabilities: Capabilities,
  { transactional }: Settings,
  block: (on: boolean) => void,
): Mover {
  return new Mover({
    runtime: bus.runtime,
    send: bus.sendCopy,
    atomic: transactional || capabilities.commit === "record",
    transactional,
    blocked(on, error) {
      if (on) bus.logger.warn({ error }, "a copy could not be stored; the subscription waits and tries again");
      block(on);
    },
  });
}

function observers(
  bus: BusParts,
  settings: Settings,
): Pick<ConstructorParameters<typeof Engine>[0], "settled" | "failed" | "stuck"> {
  const { system } = bus.driver;
  const group = settings.name;
  return {
    settled(work, fate, reason, error) {
      bus.settled(work, group, fate, reason);
      if (!events.settled.hasSubscribers) return;
      const { id, attempt, topic } = work;
      events.settled.publish({ system, topic: topic.name, group, id, attempt, fate, reason, error });
    },
    failed(work, error, waitMs) {
      if (!events.attemptFailed.hasSubscribers) return;
      const { id, failures, topic } = work;
      events.attemptFailed.publish({ system, topic: topic.name, group, id, attempt: failures, error, waitMs });
    },
    stuck(work, kind) {
      if (kind === "stuck")
        bus.logger.error({ topic: work.topic.name, group, messageId: work.id }, "a handler never ended");
      events.stuck.publish({ system, topic: work.topic.name, group, id: work.id, kind });
    },
  };
}

/** Topology first: a queue that was deleted while we ran is made again, or reported. */
async function openReceiver(
  bus: BusParts,
  sources: readonly Source[],
  settings: Settings,
  engine: Engine,
  window: number,
  signal: AbortSignal,
): Promise<Opened> {
  const connection = await bus.keeper.connection(signal);
  const topics = sources.flatMap((source) => source.topic ?? []);
  if (topics.length > 0) await bus.keeper.provision(connection, topics);
  try {
    const receiver = await connection.receiver(sources, {
      ordered: settings.ordered,
      window,
      windowBytes: settings.windowBytes,
      ...(settings.transactional ? { transactional: true } : {}),
      lost: (deliveries, reason) => engine.lose(deliveries, reason),
    });
    // What moves due messages on runs no code of anybody's: a message there has killed nobody, and has no dead letters to go to.
    const forwards = sources.some((source) => "delayed" in source);
    const { capabilities } = connection;
    return {
      receiver,
      limits: connection.limits,
      quarantine: new Quarantine(forwards ? { ...capabilities, deliveries: "absent" } : capabilities, settings.ordered),
    };
  } catch (error) {
    if (error instanceof DriverError && error.code === "NOT_FOUND") bus.keeper.forgetProvisioned();
    throw error;
  }
}

interface Attempt {
  readonly payload: unknown;
  readonly context: Context;
}

/** Attempt middleware around a handler, composed once per subscription; the payload rides along. */
function wrapped(middleware: NonNullable<Middleware["attempt"]>, run: Run): Run {
  const chain = compose<Attempt, void | Outcome>(
    middleware.map((each) => named(each, (attempt: Attempt, next: Next) => each(attempt.context, next))),
    // What is around the handler sees a run that forgot to return its outcome as the failure that it is.
    async ({ payload, context }) => {
      const returned = (await run(payload, context)) as void | Outcome;
      const error = unusedOutcome(context, returned);
      if (error) throw error;
      return returned;
    },
  );
  return (payload, context) => chain({ payload, context });
}

type Next = () => Promise<void | Outcome>;

interface Around {
  readonly context: Context;
  readonly inner: Next;
}

function wrappedDelivery(
  middleware: NonNullable<Middleware["delivery"]>,
): (context: Context, inner: Next) => Promise<void | Outcome> {
  const chain = compose<Around, void | Outcome>(
    middleware.map((each) => named(each, (around: Around, next: Next) => each(around.context, next))),
    ({ inner }) => inner(),
  );
  return (context, inner) => chain({ context, inner });
}

/** The wrapper carries the middleware's name, for errors and stack traces. */
function named<F extends object>(original: { readonly name: string }, wrapper: F): F {
  return Object.defineProperty(wrapper, "name", { value: original.name });
}
