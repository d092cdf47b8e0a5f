import { Backoff } from "../backoff.ts";
import type { Runtime } from "../driver/index.ts";
import { Queue } from "../queue.ts";
import type { Work } from "./work.ts";

/**
 * While something that the handlers need is down (UnavailableError): messages are kept without counting an attempt, nothing new
 * starts, and one of them is tried again with back-off. The first that does not say "unavailable" ends it.
 */
export class Outage {
  readonly #runtime: Runtime;
  readonly #probe: (work: Work) => void;
  readonly #over: () => void;
  readonly #backoff: Backoff;
  #held = new Queue<Work>();
  #probing: Work | undefined;
  #cancel: (() => void) | undefined;

  /** `over`: everything held was lost, so nothing is left to try. */
  constructor(runtime: Runtime, probe: (work: Work) => void, over: () => void) {
    this.#runtime = runtime;
    this.#probe = probe;
    this.#over = over;
    this.#backoff = new Backoff(runtime, 500, 30_000);
  }

  get on(): boolean {
    return this.#probing !== undefined || this.#cancel !== undefined;
  }

  hold(work: Work): void {
    this.#held.push(work);
    if (this.#probing === work) this.#probing = undefined;
    if (!this.#probing) this.#schedule();
  }

  #schedule(): void {
    this.#cancel ??= this.#runtime.timer(this.#backoff.next(), () => {
      this.#cancel = undefined;
      let work = this.#held.shift();
      while (work?.lost) work = this.#held.shift();
      this.#probing = work;
      if (work) this.#probe(work);
      else this.#over();
    });
  }

  /** Whether this run was the probe. */
  probed(work: Work): boolean {
    return this.#probing === work;
  }

  /** The dependency is back: everything held may run. */
  end(): Work[] {
    const held = this.#held.drain().filter((work) => !work.lost);
    for (const work of held) work.state = "waiting";
    this.#backoff.reset();
    this.clear();
    return held;
  }

  /** The probe was lost: the next one takes another message. */
  drop(work: Work): void {
    if (this.#probing !== work) return;
    this.#probing = undefined;
    if (this.#held.size > 0) this.#schedule();
  }

  clear(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#probing = undefined;
    this.#held = new Queue();
  }
}
