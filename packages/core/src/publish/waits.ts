import type { Runtime } from "../driver/index.ts";
import { Deque } from "./deque.ts";
import type { Entry } from "./entry.ts";

/** Shortest time between two passes over the entries: deadlines may end that much late. */
const sweepMs = 50;

/**
 * Everything unsettled, oldest first, with its deadlines and signals: one timer for all, and one listener per signal, because
 * adding a listener costs as much as the signal has listeners.
 */
export class Waits {
  readonly #runtime: Runtime;
  readonly #ended: (entries: readonly Entry[], why: "deadline" | "aborted") => void;
  readonly #entries = new Deque<Entry>();
  readonly #signals = new Map<AbortSignal, { readonly entries: Set<Entry>; stop(): void }>();
  #nextMs = Number.POSITIVE_INFINITY;
  #sweptMs = Number.NEGATIVE_INFINITY;
  #cancel: (() => void) | undefined;

  constructor(runtime: Runtime, ended: (entries: readonly Entry[], why: "deadline" | "aborted") => void) {
    this.#runtime = runtime;
    this.#ended = ended;
  }

  /** The one that waits longest. */
  get oldest(): Entry | undefined {
    this.#dropHead();
    return this.#entries.first();
  }

  unsettled(): Entry[] {
    return [...this.#entries].filter((entry) => !entry.settled);
  }

  add(entry: Entry): void {
    this.#entries.push(entry);
    if (entry.options.signal) this.#watch(entry.options.signal, entry);
    if (entry.options.deadlineMs < this.#nextMs) this.#arm(entry.options.deadlineMs);
  }

  /** To be called when it is settled. */
  remove(entry: Entry): void {
    this.#dropHead();
    if (!entry.options.signal) return;
    const watched = this.#signals.get(entry.options.signal);
    if (!watched?.entries.delete(entry) || watched.entries.size > 0) return;
    watched.stop();
    this.#signals.delete(entry.options.signal);
  }

  purge(): void {
    this.#entries.keep((entry) => !entry.settled);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#nextMs = Number.POSITIVE_INFINITY;
  }

  #dropHead(): void {
    for (let entry = this.#entries.first(); entry?.settled; entry = this.#entries.first()) {
      this.#entries.shift();
    }
  }

  #watch(signal: AbortSignal, entry: Entry): void {
    const watched = this.#signals.get(signal);
    if (watched) {
      watched.entries.add(entry);
      return;
    }
    const entries = new Set([entry]);
    const abort = () => this.#ended([...entries], "aborted");
    signal.addEventListener("abort", abort, { once: true });
    this.#signals.set(signal, { entries, stop: () => signal.removeEventListener("abort", abort) });
  }

  /** n.b. Stays armed when nothing waits any more, or a caller that awaits each publish would pay for a timer every time. */
  #arm(dueMs: number): void {
    this.#cancel?.();
    this.#nextMs = dueMs;
    const nowMs = this.#runtime.monotonicMs();
    const at = Math.max(dueMs, this.#sweptMs + sweepMs);
    this.#cancel = this.#runtime.timer(Math.max(0, at - nowMs), () => this.#sweep(), { background: true });
  }

  #sweep(): void {
    this.#cancel = undefined;
    this.#nextMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#runtime.monotonicMs();
    this.#sweptMs = nowMs;
    let next = Number.POSITIVE_INFINITY;
    const due: Entry[] = [];
    for (const entry of this.unsettled()) {
      if (entry.options.deadlineMs <= nowMs) due.push(entry);
      else next = Math.min(next, entry.options.deadlineMs);
    }
    this.#ended(due, "deadline");
    // A callback may have armed it for an entry of its own.
    if (next < this.#nextMs) this.#arm(next);
  }
}
