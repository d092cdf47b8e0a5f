import { untilAborted } from "../abort.ts";
import type { ConnectionKeeper } from "../connection-keeper.ts";
import { fromDriver } from "../driver-failure.ts";
import type { Backlog, Driver, Runtime, Source } from "../driver/index.ts";
import { type Duration, milliseconds } from "../duration.ts";
import { SluiceError } from "../errors.ts";
import type { AnyTopic } from "../topic.ts";
import type { Counters } from "./counters.ts";
import type { Engine } from "./engine.ts";
import type { Intake, IntakeState } from "./intake.ts";
import { totalWait } from "./retry-policy.ts";
import type { Settings } from "./settings.ts";
import type { TimeLimits } from "./time-limits.ts";

export interface DrainOptions {
  /** How long running handlers may take before their signal aborts. @default '25s' */
  readonly deadline?: Duration;
}

/** What a subscription says about itself. */
export interface SubscriptionHealth {
  readonly topics: readonly string[];
  /** Group, or the broadcast's name. */
  readonly name: string;
  /**
   * `opening`, `live`, `paused`, `outage` (a handler said UnavailableError), `blocked` (a copy cannot be stored), `quarantine` (a
   * message is suspected of killing its processes), `reconnecting`, `draining`, `closed`.
   */
  readonly state: string;
  /** Messages held here: waiting, running, between two runs, leaving. */
  readonly held: number;
  readonly running: number;
  readonly counters: Readonly<Counters>;
  /** Why it is reconnecting. */
  readonly error: SluiceError | undefined;
}

/** The parts that a subscription is made of. */
export interface SubscriptionParts {
  readonly driver: Driver;
  readonly runtime: Runtime;
  readonly keeper: ConnectionKeeper;
  readonly settings: Settings;
  readonly topics: readonly AnyTopic[];
  readonly sources: readonly Source[];
  readonly engine: Engine;
  readonly intake: Intake;
  readonly limits: TimeLimits;
  /** Names of all middleware, outermost first, for `explain`. */
  readonly chain: readonly string[];
  /** Whether unstarted messages can be given back while the receiver is open. */
  readonly canRelease: boolean;
  closed(): void;
}

/** How long a handler that was told to stop may take before the drain goes on without it. */
const graceMs = 1000;

/** A live subscription. Made by `bus.subscribe`, which resolves when a message sent now arrives. */
export class Subscription {
  readonly #parts: SubscriptionParts;
  #state: IntakeState = "opening";
  #error: SluiceError | undefined;
  #draining: Promise<void> | undefined;
  #ended = false;
  readonly #end = new AbortController();
  #finish!: (error: SluiceError | undefined) => void;
  /** Resolves when the subscription has ended: with the reason, or `undefined` after `drain` or `close`. Never rejects. */
  readonly closed: Promise<SluiceError | undefined>;

  /** @internal Use `bus.subscribe`. */
  constructor(parts: SubscriptionParts) {
    this.#parts = parts;
    this.closed = new Promise((resolve) => (this.#finish = resolve));
  }

  /** @internal */
  async start(): Promise<void> {
    try {
      await this.#parts.intake.start();
      this.#checkLease();
    } catch (error) {
      await this.close();
      throw fromDriver(error);
    }
  }

  /** An ordered retry never leaves its lane, so its waits must fit into the time for which the broker lets us hold a message. */
  #checkLease(): void {
    const { settings, intake, driver, topics } = this.#parts;
    const holdMs = intake.receiver?.lease?.holdMs;
    if (!settings.ordered || holdMs === undefined) return;
    const waitMs = totalWait(settings.policy);
    if (waitMs <= holdMs) return;
    throw new SluiceError(
      "CONFIG",
      `${driver.name}: the retries of topic "${topics.map((topic) => topic.name).join('", "')}" can wait ${waitMs} ms in all, and the ` +
        `broker lets an ordered message be held for ${holdMs} ms; lower retry.attempts or retry.maxDelay`,
    );
  }

  /** @internal */
  report(state: IntakeState, error: unknown): void {
    this.#state = state;
    this.#error = error === undefined ? undefined : fromDriver(error);
  }

  /** Starts no more handlers and takes nothing more in; what runs goes on, leases are renewed. Takes effect at once. */
  pause(): void {
    this.#parts.engine.paused = true;
  }

  /** Ends `pause`. */
  resume(): void {
    this.#parts.engine.paused = false;
    this.#parts.intake.wake();
    this.#parts.engine.pump();
  }

  /**
   * Stops in order: no new work, unstarted messages go back, running handlers finish, settlements reach the broker. At the
   * deadline signals abort with `CLOSED`; what has not ended a second later goes back to the broker. Resolves when all is done.
   */
  drain(options: DrainOptions = {}): Promise<void> {
    const deadlineMs = milliseconds(options.deadline ?? "25s", "drain deadline");
    return (this.#draining ??= this.#drain(deadlineMs));
  }

  /** `drain` without patience: signals abort now. */
  close(): Promise<void> {
    return this.drain({ deadline: 0 });
  }

  /** @internal Ends a drain that is under way: signals abort, nothing is waited for. */
  abort(): void {
    this.#parts.engine.abortRunning(new SluiceError("CLOSED", "sluice: the subscription is closing"));
    this.#end.abort();
  }

  async #drain(deadlineMs: number): Promise<void> {
    const { engine, intake, limits, runtime } = this.#parts;
    engine.stopped = true;
    const end = this.#end;
    const closing = new SluiceError("CLOSED", "sluice: the subscription is closing");
    const cancels = [
      runtime.timer(deadlineMs, () => engine.abortRunning(closing)),
      runtime.timer(deadlineMs + graceMs, () => end.abort()),
    ];
    await intake.stop(end.signal);
    const { receiver } = intake;
    if (receiver) await intake.release(receiver, end.signal, this.#parts.canRelease);
    else engine.giveBack(false);
    // Without a receiver, or when it failed meanwhile: handlers whose messages are lost get their time to stop, too.
    await untilAborted(end.signal, engine.quiet());
    for (const cancel of cancels) cancel();
    limits.stop();
    this.#ended = true;
    this.#parts.closed();
    this.#finish(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }

  /** How much waits for this subscription, over all its topics; a member that the broker cannot tell is left out. */
  async backlog(signal: AbortSignal = new AbortController().signal): Promise<Backlog> {
    const connection = await this.#parts.keeper.connection(signal);
    try {
      const all = await Promise.all(this.#parts.sources.map((source) => connection.backlog(source, signal)));
      return all.reduce(sum);
    } catch (error) {
      throw fromDriver(error);
    }
  }

  health(): SubscriptionHealth {
    const { engine, settings, topics } = this.#parts;
    const live = this.#state === "live" ? engine.state : this.#state;
    return {
      topics: topics.map((topic) => topic.name),
      name: settings.name,
      state: this.#ended ? "closed" : this.#draining ? "draining" : live,
      held: engine.held.size,
      running: engine.running.size,
      counters: { ...engine.counters },
      error: this.#error,
    };
  }

  /** In words: what happens to a message here, in order, with every number. */
  explain(): string {
    const { settings, topics, driver, chain } = this.#parts;
    const { policy } = settings;
    const names = topics.map((topic) => topic.name).join(", ");
    const lines = [
      `${driver.name}: ${settings.broadcast ? "broadcast" : "group"} "${settings.name}" on ${names}`,
      `order: ${settings.ordered ? "by key; a failed message holds its key" : "none"}`,
      `at once: ${settings.concurrency} handlers, ${settings.window} messages held`,
      `chain: ${[...chain, "handler"].join(" > ")}`,
      `time limit: ${settings.timeoutMs ? `${settings.timeoutMs} ms` : "none"}`,
      `retry: ${policy.attempts} attempts, waits up to ${policy.firstDelayMs} ms × ${policy.factor}^n, at most ${policy.maxDelayMs} ms, full jitter`,
      `then: ${settings.deadLetter ? "dead letter" : "dropped, and counted"}`,
    ];
    return lines.join("\n");
  }
}

function sum(one: Backlog, other: Backlog): Backlog {
  const add = (name: "ready" | "inFlight" | "delayed") => {
    const [a, b] = [one[name], other[name]];
    return a === undefined || b === undefined ? {} : { [name]: a + b };
  };
  const oldest = Math.max(one.oldestMs ?? -1, other.oldestMs ?? -1);
  return { ...add("ready"), ...add("inFlight"), ...add("delayed"), ...(oldest < 0 ? {} : { oldestMs: oldest }) };
}

/** What a handler gets when it subscribed to several topics: `topic` tells which. */
export interface Event<Name extends string = string, Payload = unknown> {
  readonly topic: Name;
  readonly payload: Payload;
}
