import { toDeadLetter } from "../dead-letter-headers.ts";
import { type Destination, emptyHeaders, type Headers, wire } from "../driver/index.ts";
import type { SettledFate } from "../events.ts";
import type { Counters } from "./counters.ts";
import type { EngineOptions } from "./engine-options.ts";
import { decideFate, type Fate, type RunResult } from "./fate.ts";
import { handOuts, type Work } from "./work.ts";

/** What the fates need back from the engine. */
export interface FateHost {
  apply(work: Work, fate: Fate): void;
  accept(work: Work, fate: SettledFate, reason: string | undefined, error: unknown): void;
  /** A move ended, and the original is settled or lost. */
  gone(work: Work, fate: SettledFate, reason: string | undefined, error: unknown): void;
  /** It runs again here after a wait. */
  pause(work: Work, delayMs: number): void;
}

/** Carries out what was decided: accept, wait, move. */
export class Fates {
  readonly #options: EngineOptions;
  readonly #counters: Counters;
  readonly #host: FateHost;

  constructor(options: EngineOptions, counters: Counters, host: FateHost) {
    this.#options = options;
    this.#counters = counters;
    this.#host = host;
  }

  /**
   * `wrapped`: delivery middleware may be around the message; unless it runs again here, the middleware gets the result and has
   * the last word. `mustMove`: the run goes on, so it cannot run again here.
   */
  decide(work: Work, result: RunResult, wrapped: boolean, mustMove = false): void {
    const { settings } = this.#options;
    const fate = decideFate({
      result,
      failures: work.failures,
      policy: settings.policy,
      staysHere: settings.ordered || settings.broadcast || this.#options.delayMs === 0,
      mustMove,
      deadLetter: settings.deadLetter,
      random: this.#options.runtime.random(),
    });
    const again = fate.kind === "hold" || ((fate.kind === "retry" || fate.kind === "defer") && fate.inPlace);
    if (wrapped && work.unwrap && !again) {
      work.state = "unwrapping";
      work.unwrap(result);
    } else this.#host.apply(work, fate);
  }

  apply(work: Work, fate: Exclude<Fate, { kind: "hold" }>): void {
    switch (fate.kind) {
      case "done":
        this.#counters.done++;
        return this.#host.accept(work, "done", undefined, undefined);
      case "drop":
        this.#counters.dropped++;
        return this.#host.accept(work, "drop", fate.reason, fate.error);
      case "dead-letter":
        return this.#deadLetter(work, fate);
      case "retry":
      case "defer":
        return this.#later(work, fate);
    }
  }

  #later(work: Work, fate: Fate & { kind: "retry" | "defer" }): void {
    if (fate.kind === "retry") {
      work.failures++;
      this.#counters.retried++;
    } else this.#counters.deferred++;
    if (!fate.inPlace) return this.#moveToOwnEntry(work, fate.kind, fate.delayMs, fate.reason, fate.error);
    this.#options.failed(work, fate.error, fate.delayMs);
    this.#host.pause(work, fate.delayMs);
  }

  /** A message that goes back on the way of its group's own entry: attempts go with it, the broker's count does not. */
  moveOn(work: Work): void {
    this.#counters.returned++;
    this.#moveToOwnEntry(work, "returned", 0, "drain", undefined);
  }

  #moveToOwnEntry(
    work: Work,
    kind: "retry" | "defer" | "returned",
    delayMs: number,
    reason: string | undefined,
    error: unknown,
  ): void {
    const headers = copyOf(work.delivery.headers);
    if (work.failures > 0) headers[wire.attempts] = String(work.failures);
    if (kind === "returned") headers[wire.handOuts] = String(handOuts(work.delivery) - 1);
    else delete headers[wire.handOuts];
    // n.b. A longer one would be refused for ever: it comes early, and waits again.
    const waitMs = Math.min(delayMs, this.#options.delayMs);
    const notBefore = waitMs > 0 ? this.#options.runtime.wallMs() + waitMs : undefined;
    const to = { topic: work.topic.name, group: this.#options.settings.name };
    this.#move(work, to, headers, notBefore, kind, reason, error);
  }

  #deadLetter(work: Work, fate: Fate & { kind: "dead-letter" }): void {
    const { name } = this.#options.settings;
    const headers = toDeadLetter(work.delivery, {
      topic: work.topic.name,
      group: name,
      reason: fate.reason,
      detail: fate.detail,
      error: fate.error,
      attempts: fate.reason === "crash-suspect" ? work.failures : work.attempt,
      wallMs: this.#options.runtime.wallMs(),
    });
    const to = { topic: work.topic.name, group: name, deadLetter: true } as const;
    this.#move(work, to, headers, undefined, "dead-letter", fate.reason, fate.error);
  }

  #move(
    work: Work,
    to: Destination,
    headers: Headers,
    notBefore: number | undefined,
    kind: "retry" | "defer" | "returned" | "dead-letter",
    reason: string | undefined,
    error: unknown,
  ): void {
    this.#options.mover.move(work, to, headers, notBefore, (state) => {
      if (kind === "dead-letter" && state !== "lost") this.#counters.deadLettered++;
      if (state === "stored" && !work.lost) this.#host.accept(work, kind, reason, error);
      else this.#host.gone(work, state === "accepted" ? kind : "lost", reason, error);
    });
  }
}

function copyOf(headers: Headers): Headers {
  return Object.assign<Headers, Headers>(emptyHeaders(), headers);
}
