import type { SettledFate } from "../events.ts";
import type { Busy } from "./busy.ts";
import type { Counters } from "./counters.ts";
import type { EngineOptions } from "./engine-options.ts";
import type { Settler } from "./settler.ts";
import { mustMoveOn, type Work } from "./work.ts";

/** What going back needs of the engine. */
export interface ReturnsHost {
  readonly settler: Settler;
  readonly busy: Busy;
  /** As a copy to the group's own entry. */
  moveOn(work: Work): void;
  gone(work: Work, fate: SettledFate): void;
  leave(work: Work): void;
}

/** Messages that go back unfinished, so that others can have them now. */
export class Returns {
  readonly #options: Pick<EngineOptions, "settings" | "capabilities" | "settled">;
  readonly #counters: Counters;
  readonly #host: ReturnsHost;

  constructor(
    options: Pick<EngineOptions, "settings" | "capabilities" | "settled">,
    counters: Counters,
    host: ReturnsHost,
  ) {
    this.#options = options;
    this.#counters = counters;
    this.#host = host;
  }

  /** `ask`: the broker is asked for it now, else the receiver's `close` does it. */
  one(work: Work, ask: boolean): void {
    const { ordered, broadcast, transactional } = this.#options.settings;
    const staysHere = ordered || broadcast;
    const release = ask && (transactional || !staysHere);
    work.cancelWait?.();
    work.next = undefined;
    if (release && !staysHere && mustMoveOn(work, this.#options.capabilities)) {
      this.#leaving(work);
      return this.#host.moveOn(work);
    }
    this.#counters.returned++;
    if (release) {
      this.#leaving(work);
      return this.#host.settler.release(work, "returned", (result) =>
        this.#host.gone(work, result === "lost" ? "lost" : "returned"),
      );
    }
    this.#options.settled(work, "returned", undefined, undefined);
    work.lost = true;
    this.#host.leave(work);
  }

  #leaving(work: Work): void {
    work.state = "leaving";
    this.#host.busy.leaving.add(work);
  }
}
