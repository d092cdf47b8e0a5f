import { aborted } from "../abort.ts";
import { Backoff } from "../backoff.ts";
import { type Delivery, DriverError, type Limits, type Receiver, type Runtime, sleep } from "../driver/index.ts";
import type { Engine } from "./engine.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { Quarantine } from "./quarantine.ts";

export interface IntakeOptions {
  readonly runtime: Runtime;
  readonly engine: Engine;
  readonly window: number;
  readonly windowBytes: number;
  /** Opens a live receiver; the topology is there when it does. Its losses go to the engine. */
  open(window: number): Promise<{ readonly receiver: Receiver; readonly limits: Limits; readonly quarantine: Quarantine }>;
  state(state: IntakeState, error: DriverError | undefined): void;
}

export type IntakeState = "opening" | "live" | "reconnecting" | "quarantine" | "stopped" | "ended";

/** Why a receiver's session ended. */
type End = "closed" | "quarantine" | "calm" | "stop" | "finished";

/** How long a first opening is tried while the broker does not answer. */
const openForMs = 30_000;

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
        const final = !(error instanceof DriverError && error.retryable);
        if (final || this.#options.runtime.monotonicMs() - began > openForMs) throw error;
        await sleep(this.#options.runtime, this.#backoff.next(), this.#stopping.signal);
        if (this.#stopping.signal.aborted) throw error;
      }
    }
    this.#supervision = this.#supervise();
  }

  async #open(window: number): Promise<void> {
    this.#options.state("opening", undefined);
    const { receiver, limits, quarantine } = await this.#options.open(window);
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
      this.#options.state("reconnecting", error instanceof DriverError ? error : undefined);
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
    const loops = Array.from({ length: this.#limits?.receivesInFlight ?? 1 }, () => this.#pull(receiver, session.signal));
    if (this.#stopping.signal.aborted) this.#end?.("stop");
    const why = await asked;
    session.abort();
    this.wake();
    await Promise.all(loops);
    return why;
  }

  async #pull(receiver: Receiver, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const room = this.#room();
      if (room <= 0) {
        await new Promise<void>((resolve) => void this.#wake.push(resolve));
        continue;
      }
      let deliveries: readonly Delivery[] | undefined;
      try {
        deliveries = await receiver.receive(room, signal);
      } catch {
        this.#end?.("closed");
        return;
      }
      // n.b. What an aborted call brought is not handed on: it is unsettled, and goes back when the receiver closes.
      if (signal.aborted) return;
      if (deliveries === undefined) return this.#end?.("finished");
      this.#admit(deliveries, receiver);
    }
  }

  /** How many to ask for: nothing until a good part of a batch fits, so that a busy engine does not ask for one at a time. */
  #room(): number {
    const { engine, window, windowBytes } = this.#options;
    if (engine.paused || engine.stopped || engine.held.bytes >= windowBytes) return 0;
    const room = (this.#quarantine?.on ? 1 : window) - engine.held.size;
    const batch = Math.min(this.#limits?.receiveBatch ?? 1, window);
    return room >= Math.min(batch, Math.ceil(window / 4)) || engine.held.size === 0 ? Math.min(room, batch) : 0;
  }

  #admit(deliveries: readonly Delivery[], receiver: Receiver): void {
    const { engine } = this.#options;
    const quarantine = this.#quarantine;
    if (!quarantine?.on) {
      // The whole batch goes back unstarted: running a neighbour beside a suspect would blur the evidence.
      if (quarantine?.suspects(deliveries)) return this.#end?.("quarantine");
      return engine.admit(deliveries, receiver);
    }
    for (const delivery of deliveries) {
      if (quarantine.guilty(delivery)) engine.convict(delivery, receiver);
      else engine.admit([delivery], receiver);
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
    await quietly(receiver.close(this.#stopping.signal));
    this.#options.state("reconnecting", error);
    await sleep(this.#options.runtime, this.#backoff.next(), this.#stopping.signal);
  }

  /** Gives everything back in order, to open a receiver with another window. */
  async #handBack(receiver: Receiver, suspicious: boolean): Promise<void> {
    if (suspicious) this.#quarantine?.enter();
    else this.#quarantine?.leave();
    await this.release(receiver, this.#stopping.signal, false);
  }

  /** Stop the intake → give back what waits → let what runs finish → settle → close. */
  async release(receiver: Receiver, signal: AbortSignal, moveOn: boolean): Promise<void> {
    const { engine } = this.#options;
    await quietly(receiver.stop(signal));
    engine.giveBack(moveOn);
    await Promise.race([engine.quiet(), aborted(signal), receiver.closed]);
    await engine.settler.idle();
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
    let late = false;
    await Promise.race([this.#supervision, aborted(signal).then(() => (late = true))]);
    // A receiver that opens after everybody stopped waiting for it is closed at once.
    if (late) void this.#supervision?.then(() => this.#receiver && this.release(this.#receiver, signal, false));
    this.#options.state("stopped", undefined);
  }

  /** Resolves when a finite source has ended, or the intake was stopped. */
  async ended(): Promise<void> {
    await this.#supervision;
  }
}

/** Closing what may already be broken: its failure changes nothing. */
async function quietly(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch {
    // The receiver is finished either way; what it held comes again.
  }
}
