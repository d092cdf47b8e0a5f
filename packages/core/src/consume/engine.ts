import { type Delivery, DriverError, type Receiver } from "../driver/index.ts";
import { fromDriver } from "../driver-failure.ts";
import { SluiceError } from "../errors.ts";
import type { SettledFate } from "../events.ts";
import { Queue } from "../queue.ts";
import { Admission } from "./admission.ts";
import { Busy } from "./busy.ts";
import { type Counters, newCounters } from "./counters.ts";
import type { EngineOptions } from "./engine-options.ts";
import { type Fate, giveUp, type RunResult } from "./fate.ts";
import { Fates } from "./fates.ts";
import { Held } from "./held.ts";
import { Lanes } from "./lanes.ts";
import { Outage } from "./outage.ts";
import { Returns } from "./returns.ts";
import { Runner } from "./runner.ts";
import { ShardHolds } from "./shard-holds.ts";
import { Settler } from "./settler.ts";
import { timeLimit } from "./time-limits.ts";
import { handOuts, type Work } from "./work.ts";

/**
 * Everything between the receiver and the handler: lanes, slots, runs, time limits and fates. It holds at most a window of
 * messages; each leaves it settled, moved, lost or given back.
 */
export class Engine {
  readonly #options: EngineOptions;
  readonly #lanes = new Lanes();
  readonly #ready = new Queue<Work>();
  readonly #runner: Runner;
  readonly #fates: Fates;
  readonly #outage: Outage;
  readonly #returns: Returns;
  /** Waiting, running, between two runs, leaving. */
  readonly held: Held;
  readonly settler: Settler;
  readonly counters: Counters = newCounters();
  readonly #busy = new Busy();
  /** Holds a delivery without starting it. */
  readonly admission: Admission;
  #blockers = 0;
  #pumping = false;
  paused = false;
  /** Draining: nothing starts any more. */
  stopped = false;
  /** Set while everything goes back: whether the broker is asked for it one by one. */
  #returning: boolean | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    const { ordered, window } = options.settings;
    this.held = new Held(ordered ? new ShardHolds(window) : undefined);
    this.admission = new Admission(options, this.held, this.counters);
    this.settler = new Settler(options.settleBatch, options.settings.transactional);
    this.#runner = new Runner({
      ...options,
      ended: (work, result) => this.#ended(work, result),
      unwrapped: (work, result) => this.#unwrapped(work, result),
    });
    this.#outage = new Outage(
      options.runtime,
      (work) => this.#probe(work),
      () => this.pump(),
    );
    this.#returns = new Returns(options, this.counters, {
      moveOn: (work) => this.#fates.moveOn(work),
      settler: this.settler,
      busy: this.#busy,
      gone: (work, fate) => this.#gone(work, fate, undefined, undefined),
      leave: (work) => this.#leave(work),
    });
    this.#fates = new Fates(options, this.counters, {
      apply: (work, fate) => this.#apply(work, fate),
      accept: (work, fate, reason, error) => this.#accept(work, fate, reason, error),
      gone: (work, fate, reason, error) => this.#gone(work, fate, reason, error),
      pause: (work, delayMs) => this.#pause(work, delayMs),
    });
  }

  get running(): ReadonlySet<Work> {
    return this.#busy.running;
  }

  get state(): "live" | "paused" | "outage" | "blocked" {
    if (this.paused) return "paused";
    if (this.#blockers > 0) return "blocked";
    return this.#outage.on ? "outage" : "live";
  }

  admit(deliveries: readonly Delivery[], receiver: Receiver): void {
    for (const delivery of deliveries) {
      const work = this.admission.keep(delivery, receiver);
      if (!work || this.#unwanted(work)) continue;
      if (this.#lanes.enter(work)) this.#ready.push(work);
    }
    this.pump();
  }

  /** A message that killed its process when it ran alone: dead-lettered without another run. */
  convict(work: Work): void {
    this.#lanes.enter(work);
    const times = handOuts(work.delivery);
    work.failures = Math.max(work.failures, times - 1);
    const detail = `handed out ${times} times, and the process died each time`;
    this.#apply(work, giveUp(this.#options.settings, "crash-suspect", detail, undefined));
  }

  #unwanted(work: Work): boolean {
    const why = this.admission.unwanted(work);
    if (why) this.#accept(work, why === "expired" ? "drop" : "filtered", why, undefined);
    return why !== undefined;
  }

  /** Runs a message that only `keep` knows. False when nothing may start now. */
  startAlone(work: Work): boolean {
    const may = this.#mayStart() && !work.lost;
    if (may) this.#start(work);
    return may;
  }

  /** Starts what may run. A handler that ends at once comes back here: the outer loop goes on, the stack does not grow. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#mayStart()) {
      const work = this.#ready.shift();
      if (!work) break;
      this.#start(work);
    }
    this.#pumping = false;
  }

  #mayStart(): boolean {
    if (this.paused || this.stopped || this.#blockers > 0 || this.#outage.on) return false;
    return this.#busy.running.size < this.#options.settings.concurrency;
  }

  /** One message tries whether the outage is over; later, when nothing may start now. */
  #probe(work: Work): void {
    if (this.paused || this.stopped || this.#blockers > 0) this.#outage.hold(work);
    else this.#start(work);
  }

  #start(work: Work): void {
    if (work.lost) return this.#leave(work);
    work.state = "running";
    work.overdue = false;
    work.startedMs = this.#options.runtime.monotonicMs();
    this.#busy.running.add(work);
    this.#runner.start(work);
  }

  #ended(work: Work, result: RunResult): void {
    this.#busy.running.delete(work);
    if (work.overdue) {
      this.counters.late++;
      if (this.#busy.stuck.delete(work)) this.counters.stuck--;
      this.#options.stuck(work, "late");
    }
    if (work.state !== "running") work.unwrap?.(result);
    else if (work.lost) this.#leave(work);
    else {
      const error = work.overdue ? timeLimit(work, this.#options.settings.timeoutMs) : undefined;
      this.#busy.leaving.add(work);
      this.#fates.decide(work, error ? { ok: false, error } : result, true);
    }
    this.#busy.check();
    this.pump();
  }

  /** The delivery middleware had the last word; unless the message left without it. */
  #unwrapped(work: Work, result: RunResult): void {
    if (work.state !== "unwrapping") return;
    if (work.lost) this.#leave(work);
    else this.#fates.decide(work, result, false);
    this.#busy.check();
    this.pump();
  }

  /** The time limit passed. Where the message can run elsewhere it leaves now; the old run keeps its slot until it ends. */
  expire(work: Work): void {
    work.overdue = true;
    const error = timeLimit(work, this.#options.settings.timeoutMs);
    work.context?.abort(error);
    this.#options.stuck(work, "timeout");
    if (this.#staysHere || work.lost || work.state !== "running") return;
    this.#busy.leaving.add(work);
    this.#fates.decide(work, { ok: false, error }, false, true);
  }

  /** A run that ignored its signal for another time limit: its slot goes back, its lane stays closed. */
  giveUpOn(work: Work): void {
    if (!this.#busy.running.delete(work)) return;
    this.#busy.stuck.add(work);
    this.counters.stuck++;
    this.#outage.drop(work);
    this.#options.stuck(work, "stuck");
    this.#busy.check();
    this.pump();
  }

  get #staysHere(): boolean {
    return this.#options.settings.ordered || this.#options.settings.broadcast;
  }

  #apply(work: Work, fate: Fate): void {
    if (fate.kind === "hold") {
      work.state = "pausing";
      this.#busy.leaving.delete(work);
      return this.#goesBack ? this.#returns.one(work, this.#returning === true) : this.#outage.hold(work);
    }
    if (this.#outage.probed(work)) {
      for (const held of this.#outage.end()) this.#ready.push(held);
    }
    work.state = "leaving";
    this.#busy.leaving.add(work);
    this.#fates.apply(work, fate);
  }

  /** A wait between two runs here. */
  #pause(work: Work, delayMs: number): void {
    work.state = "pausing";
    this.#busy.leaving.delete(work);
    if (this.#goesBack) return this.#returns.one(work, this.#returning === true);
    work.cancelWait = this.#options.runtime.timer(delayMs, () => {
      work.cancelWait = undefined;
      work.state = "waiting";
      this.#ready.push(work);
      this.pump();
    });
  }

  #accept(work: Work, fate: SettledFate, reason: string | undefined, error: unknown): void {
    work.state = "leaving";
    this.#busy.leaving.add(work);
    if (fate !== "done") work.forgetPublished();
    this.settler.accept(work, (result) => {
      if (result instanceof DriverError) return this.#refused(work, fate, result);
      this.#gone(work, result === "lost" ? "lost" : fate, reason, error);
    });
    // n.b. A commit may be refused, and the handler runs again: until then nothing of the lane may overtake it.
    if (!this.#options.settings.transactional) this.#next(work);
  }

  /** Nothing of its transaction happened: for the message that is a failed attempt. */
  #refused(work: Work, fate: SettledFate, error: DriverError): void {
    if (fate === "done") this.counters.done--;
    if (work.lost) return this.#gone(work, "lost", undefined, error);
    this.#fates.decide(work, { ok: false, error: fromDriver(error) }, false);
  }

  /** The broker has the settlement, or the message is lost. */
  #gone(work: Work, fate: SettledFate, reason: string | undefined, error: unknown): void {
    this.#busy.leaving.delete(work);
    if (fate === "lost" && !work.lost) this.counters.lost++;
    this.#options.settled(work, fate, reason, error);
    this.#leave(work);
    this.#busy.check();
    this.#options.room();
  }

  /** Opens the lane for the next one of the key. */
  #next(work: Work): void {
    const next = this.#lanes.leave(work);
    if (!next) return;
    this.#ready.push(next);
    this.pump();
  }

  /** Out of the engine, whatever became of it. */
  #leave(work: Work): void {
    this.held.remove(work);
    this.#busy.leaving.delete(work);
    work.state = "gone";
    work.unwrap?.({
      ok: false,
      error: new SluiceError("LEASE_LOST", `sluice: message ${work.id} left before its fate`),
    });
    this.#next(work);
  }

  /** A copy could not be stored: nothing new starts until one could. */
  block(on: boolean): void {
    this.#blockers += on ? 1 : -1;
    if (!on) this.pump();
  }

  /** These stopped being ours: runs are aborted and never settled; the lane of a running one opens when its run ends. */
  lose(deliveries: readonly Delivery[], reason: string): void {
    const lost: Work[] = [];
    for (const delivery of deliveries) {
      const work = this.held.get(delivery);
      if (!work) this.admission.lost(delivery);
      else if (!work.lost) {
        work.lost = true;
        this.held.remove(work);
        lost.push(work);
      }
    }
    this.counters.lost += lost.length;
    // n.b. Not before all are marked: the lane of one that leaves must not start the next that is lost as well.
    for (const work of lost) this.#lose(work, reason);
    // It may take long until anything starts again: what is lost must not pile up meanwhile.
    for (const work of this.#ready.take((waiting) => waiting.lost)) this.#leave(work);
    this.#busy.check();
    this.#options.room();
    this.pump();
  }

  #lose(work: Work, reason: string): void {
    const text = `sluice: message ${work.id} of topic "${work.topic.name}" went to another holder: ${reason}`;
    work.context?.abort(new SluiceError("LEASE_LOST", text));
    if (work.state === "leaving") return work.cancelWait?.(); // its move or settlement ends it
    this.#options.settled(work, "lost", reason, undefined);
    this.#outage.drop(work);
    if (work.state !== "pausing") return; // its run, its middleware or its turn in the lane ends it
    work.cancelWait?.();
    this.#leave(work);
  }

  /**
   * Gives back everything that has not started, so that others can have it now; what waits between two runs too. `release`: ask
   * the broker for it now, else the receiver's `close` does it. `but`: this one stays.
   */
  giveBack(release: boolean, but?: Work): void {
    this.#returning = release;
    const waiting = this.held.waiting().filter((work) => work !== but);
    const lost = this.#ready.drain().filter((work) => work.lost);
    this.#outage.clear();
    for (const work of [...lost, ...waiting]) work.lane = undefined;
    for (const work of lost) this.#leave(work);
    for (const work of waiting) this.#returns.one(work, this.#returning === true);
    this.#lanes.reset(this.#busy);
    this.#busy.check();
  }

  /** Draining, and what waited went back already: what comes to wait now follows at once. */
  get #goesBack(): boolean {
    return this.stopped && this.#returning !== undefined;
  }

  /** Aborts every handler that still runs. */
  abortRunning(error: SluiceError): void {
    for (const work of [...this.#busy.running, ...this.#busy.stuck]) work.context?.abort(error);
  }

  /** Resolves when no handler runs and nothing is being moved or settled. `ours`: but for what is lost, and runs on unheard. */
  quiet(ours = false): Promise<void> {
    return this.#busy.quiet(ours);
  }
}
