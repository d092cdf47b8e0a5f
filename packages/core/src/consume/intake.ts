import { untilAborted } from "../abort.ts";
import { Backoff } from "../backoff.ts";
import { type Delivery, DriverError, type Limits, type Receiver, type Runtime, sleep } from "../driver/index.ts";
import { SluiceError } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { Quarantine } from "./quarantine.ts";
import type { Work } from "./work.ts";

export interface Opened {
  readonly receiver: Receiver;
  readonly limits: Limits;
  readonly quarantine: Quarantine;
}

export interface IntakeOptions {
  readonly runtime: Runtime;
  readonly engine: Engine;
  readonly window: number;
  readonly windowBytes: number;
  /** Whether unstarted messages can be given back while the receiver is open. */
  readonly canRelease: boolean;
  /** Opens a live receiver; the topology is there when it does. Its losses go to the engine. The signal ends the waiting. */
  open(window: number, signal: AbortSignal): Promise<Opened>;
  state(state: IntakeState, error: unknown): void;
}

export type IntakeState = "opening" | "live" | "reconnecting" | "quarantine";

/** Why a receiver's session ended. */
type End = "closed" | "quarantine" | "calm" | "stop" | "finished";

/** How long a first opening is tried while the broker does not answer. */
const openForMs = 30_000;
/** How long closing a broken receiver may take before another one is opened. */
const closeForMs = 5000;
/** How long a push that the broker has begun may take. */
const onItsWayMs = 200;

/** So long without a message, and a quarantine is over. */
const calmMs = 10_000;

/**
 * Keeps one receiver open and pulls from it while there is room. A receiver that fails is finished: what it held is lost to us,
 * and another one is opened with back-off.
 */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #backoff: Backoff;
  readonly #stopping = new AbortController();
  #receiver: Receiver | undefined;
  #keeper: LeaseKeeper | undefined;
  #limits: Limits | undefined;
  #quarantine: Quarantine | undefined;
  #end: ((why: End) => void) | undefined;
  #wake: (() => void)[] = [];
  /** The first suspect of those that began the quarantine. */
  #suspect: Work | undefined;
  /** What a call threw that must not throw. */
  #broken: unknown;
  #supervision: Promise<void> | undefined;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.runtime, 100, 30_000);
  }

  /** The open receiver; `undefined` while there is none. */
  get receiver(): Receiver | undefined {
    return this.#receiver;
  }

  /** Resolves when live: a message sent now arrives. Rejects with the driver's error when that is final, or takes too long. */
  async start(): Promise<void> {
    const began = this.#options.runtime.monotonicMs();
    for (;;) {
      try {
        await this.#open(this.#options.window);
        break;
      } catch (error) {
        if (this.#stopping.signal.aborted) throw closing();
        const final = !(error instanceof DriverError && error.retryable);
        if (final || this.#options.runtime.monotonicMs() - began > openForMs) throw error;
        await sleep(this.#options.runtime, this.#backoff.next(), this.#stopping.signal);
        if (this.#stopping.signal.aborted) throw closing();
      }
    }
    this.#supervision = this.#supervise();
  }

  async #open(window: number): Promise<void> {
    this.#options.state("opening", undefined);
    const { receiver, limits, quarantine } = await this.#options.open(window, this.#stopping.signal);
    if (this.#stopping.signal.aborted) {
      await quietly(receiver.close(this.#stopping.signal));
      throw closing();
    }
    this.#receiver = receiver;
    this.#limits = limits;
    this.#quarantine ??= quarantine;
    this.#keeper = new LeaseKeeper(
      this.#options.runtime,
      receiver,
      () => this.#options.engine.held.of(receiver).map((work) => work.delivery),
      (deliveries) => this.#options.engine.lose(deliveries, "expired"),
    );
    this.#options.state(this.#quarantine.on ? "quarantine" : "live", undefined);
  }

  async #supervise(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const receiver = this.#receiver;
      if (!receiver) {
        await this.#reopen();
        continue;
      }
      const openedMs = this.#options.runtime.monotonicMs();
      const why = await this.#session(receiver);
      if (why === "stop" || why === "finished") return;
      if (this.#options.runtime.monotonicMs() - openedMs > 5000) this.#backoff.reset();
      if (why === "closed") await this.#closed(receiver);
      else await this.#handBack(receiver, why === "quarantine");
    }
  }

  async #reopen(): Promise<void> {
    try {
      await this.#open(this.#quarantine?.on ? 1 : this.#options.window);
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      this.#options.state("reconnecting", error);
      await sleep(this.#options.runtime, this.#backoff.next(), this.#stopping.signal);
    }
  }

  /** Pulls until the receiver fails, a finite source ends, or somebody asks for something else. */
  async #session(receiver: Receiver): Promise<End> {
    const session = new AbortController();
    const asked = new Promise<End>((resolve) => {
      this.#end = resolve;
      void receiver.closed.then(() => resolve("closed"));
    });
    const loops = Array.from({ length: this.#limits?.receivesInFlight ?? 1 }, () =>
      this.#pull(receiver, session.signal),
    );
    if (this.#stopping.signal.aborted) this.#end?.("stop");
    const cancel = this.#quarantine?.on ? this.#untilCalm() : undefined;
    const why = await asked;
    cancel?.();
    session.abort();
    this.wake();
    await Promise.all(loops);
    return why;
  }

  /** Ends a quarantine in which nothing happens any more. */
  #untilCalm(): () => void {
    const { runtime, engine } = this.#options;
    let received = engine.counters.received;
    let cancel = () => {};
    const look = () => {
      if (engine.held.size === 0 && received === engine.counters.received) return this.#end?.("calm");
      received = engine.counters.received;
      schedule();
    };
    const schedule = () => (cancel = runtime.timer(calmMs, look, { background: true }));
    schedule();
    return () => cancel();
  }

  async #pull(receiver: Receiver, signal: AbortSignal): Promise<void> {
    const { engine } = this.#options;
    while (!signal.aborted) {
      const room = this.#room();
      if (room <= 0) {
        await new Promise<void>((resolve) => void this.#wake.push(resolve));
        continue;
      }
      let deliveries: readonly Delivery[] | undefined;
      try {
        deliveries = await receiver.receive(room, signal);
      } catch (error) {
        // Against its contract: it is finished all the same.
        this.#broken = error;
        return this.#end?.("closed");
      }
      // n.b. What an aborted call brought goes back when the receiver closes; from a drain at once, with all that waits.
      if (signal.aborted) return engine.stopped && deliveries ? engine.admit(deliveries, receiver) : undefined;
      if (deliveries === undefined) return this.#end?.("finished");
      // A receiver that answers "nothing" at once must not keep the process from everything else.
      if (deliveries.length === 0) await new Promise<void>((resolve) => this.#options.runtime.defer(resolve));
      else this.#admit(deliveries, receiver);
    }
  }

  /** How many to ask for: nothing until a good part of a batch fits, so that a busy engine does not ask for one at a time. */
  #room(): number {
    const { engine, window, windowBytes } = this.#options;
    if (engine.paused || engine.stopped || engine.held.bytes >= windowBytes) return 0;
    const room = (this.#quarantine?.on ? 1 : window) - engine.held.size;
    // No more than a quarter at once: one shard must not fill the window before its share of it is noticed.
    const batch = Math.min(this.#limits?.receiveBatch ?? 1, Math.ceil(window / 4));
    return room >= batch || engine.held.size === 0 ? Math.min(room, batch) : 0;
  }

  #admit(deliveries: readonly Delivery[], receiver: Receiver): void {
    const { engine } = this.#options;
    const quarantine = this.#quarantine;
    if (!quarantine?.on) {
      // The whole batch goes back unstarted: running a neighbour beside a suspect would blur the evidence.
      if (quarantine?.suspects(deliveries)) {
        const kept = deliveries.map((delivery) => engine.admission.keep(delivery, receiver));
        this.#suspect ??= kept.find((work) => work && !work.lane && quarantine.suspects([work.delivery]));
        return this.#end?.("quarantine");
      }
      return engine.admit(deliveries, receiver);
    }
    for (const delivery of deliveries) {
      if (quarantine.guilty(delivery)) {
        const work = engine.admission.keep(delivery, receiver);
        if (work) engine.convict(work);
      } else {
        quarantine.runs(delivery);
        engine.admit([delivery], receiver);
      }
    }
    if (quarantine.over(deliveries[0])) this.#end?.("calm");
  }

  /** There may be room again. */
  wake(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const resolve of waiting) resolve();
  }

  async #closed(receiver: Receiver): Promise<void> {
    this.#forget(receiver);
    const error = await Promise.race([receiver.closed, Promise.resolve(undefined)]);
    this.#options.state("reconnecting", error ?? this.#broken);
    this.#broken = undefined;
    await this.#closeBroken(receiver);
    await sleep(this.#options.runtime, this.#backoff.next(), this.#stopping.signal);
  }

  async #closeBroken(receiver: Receiver): Promise<void> {
    const limit = new AbortController();
    const cancel = this.#options.runtime.timer(closeForMs, () => limit.abort());
    await untilAborted(limit.signal, quietly(receiver.close(limit.signal)));
    cancel();
  }

  /** Gives everything back in order, to open a receiver with another window. */
  async #handBack(receiver: Receiver, suspicious: boolean): Promise<void> {
    if (suspicious) this.#quarantine?.enter();
    else this.#quarantine?.leave();
    const { canRelease } = this.#options;
    const suspect = suspicious && canRelease ? this.#suspect : undefined;
    this.#suspect = undefined;
    if (suspicious && canRelease) await quietly(this.#takeWaiting(receiver));
    await this.#quiesce(receiver, this.#stopping.signal, canRelease, suspect);
    if (suspect && !suspect.lost) await this.#tryAlone(receiver, suspect);
    // A drain that began meanwhile goes on from here, and lets what still runs finish.
    if (!this.#stopping.signal.aborted) await this.#finish(receiver, this.#stopping.signal);
  }

  /**
   * Everything else went back, and nothing comes in: what happens now happens to this one alone. n.b. If it went back as well it
   * would go to the end of a long backlog where returns count, and be met there again, and again.
   */
  async #tryAlone(receiver: Receiver, suspect: Work): Promise<void> {
    const { engine, canRelease } = this.#options;
    // What went back must be back at the broker: whatever is still on its way when the process dies is counted once more.
    await untilAborted(this.#stopping.signal, engine.settler.idle(), receiver.closed);
    await quietly(receiver.flush(this.#stopping.signal));
    if (this.#quarantine?.guilty(suspect.delivery)) engine.convict(suspect);
    else if (engine.startAlone(suspect)) this.#quarantine?.runs(suspect.delivery);
    await untilAborted(this.#stopping.signal, engine.quiet(true), receiver.closed);
    // It waits for another attempt, or could not start.
    if (!this.#stopping.signal.aborted) await this.#quiesce(receiver, this.#stopping.signal, canRelease);
  }

  /**
   * What the driver has and core has not seen goes back by core too: it knows how to do that without raising the count. What a
   * broker pushes is still on its way for a moment.
   */
  async #takeWaiting(receiver: Receiver): Promise<void> {
    const { engine, window, runtime } = this.#options;
    for (let waited = false; ;) {
      const more = (await receiver.receive(window, AbortSignal.abort())) ?? [];
      for (const delivery of more) engine.admission.keep(delivery, receiver);
      if (more.length === 0 && waited) return;
      waited = more.length === 0;
      if (waited) await sleep(runtime, onItsWayMs, this.#stopping.signal);
    }
  }

  /** Stop the intake → give back what waits → let what runs finish → settle → close. */
  async release(receiver: Receiver, signal: AbortSignal, moveOn: boolean): Promise<void> {
    await this.#quiesce(receiver, signal, moveOn);
    await this.#finish(receiver, signal);
  }

  async #quiesce(receiver: Receiver, signal: AbortSignal, moveOn: boolean, but?: Work): Promise<void> {
    const { engine } = this.#options;
    await untilAborted(signal, quietly(receiver.stop(signal)), receiver.closed);
    engine.giveBack(moveOn, but);
    await untilAborted(signal, engine.quiet(true), receiver.closed);
  }

  async #finish(receiver: Receiver, signal: AbortSignal): Promise<void> {
    await untilAborted(signal, this.#options.engine.settler.idle(), receiver.closed);
    await quietly(receiver.flush(signal));
    await quietly(receiver.close(signal));
    this.#forget(receiver);
  }

  #forget(receiver: Receiver): void {
    this.#keeper?.stop();
    if (this.#receiver === receiver) this.#receiver = undefined;
    const { engine } = this.#options;
    engine.lose(
      engine.held.of(receiver).map((work) => work.delivery),
      "disconnected",
    );
  }

  /** Ends the pulling; the receiver stays open for settlements until `release`. Resolves when no call is under way. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopping.abort();
    this.#end?.("stop");
    if (this.#supervision) await untilAborted(signal, this.#supervision);
  }
}

function closing(): SluiceError {
  return new SluiceError("CLOSED", "sluice: the subscription was closed while it was being opened");
}

/** Closing what may already be broken: its failure changes nothing. */
async function quietly(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch {
    // The receiver is finished either way; what it held comes again.
  }
}
