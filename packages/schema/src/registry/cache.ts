import type { Runtime } from "@sluice/core";

interface Entry<V> {
  readonly value: V;
  readonly untilMs: number;
}

/** The entries used last, at most `limit`, each for at most `ttlMs`. */
export class Cache<V> {
  readonly #limit: number;
  readonly #ttlMs: number;
  readonly #runtime: Runtime;
  readonly #entries = new Map<string, Entry<V>>();

  constructor(limit: number, ttlMs: number, runtime: Runtime) {
    this.#limit = limit;
    this.#ttlMs = ttlMs;
    this.#runtime = runtime;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.untilMs !== Infinity && entry.untilMs <= this.#runtime.monotonicMs()) {
      this.#entries.delete(key);
      return undefined;
    }
    // A Map keeps the order of insertion: the first one is the one unused for longest.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: V): void {
    if (this.#limit === 0 || this.#ttlMs === 0) return;
    this.#entries.delete(key);
    const untilMs = this.#ttlMs === Infinity ? Infinity : this.#runtime.monotonicMs() + this.#ttlMs;
    this.#entries.set(key, { value, untilMs });
    if (this.#entries.size <= this.#limit) return;
    for (const oldest of this.#entries.keys()) return void this.#entries.delete(oldest);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }
}

/** One call per key at a time: who asks meanwhile gets the same answer. */
export class Flights {
  readonly #running = new Map<string, Promise<unknown>>();

  /** n.b. a key must always stand for the same type of answer. */
  run<V>(key: string, start: () => Promise<V>): Promise<V> {
    const running = this.#running.get(key);
    if (running) return running as Promise<V>;
    const flight = start().finally(() => this.#running.delete(key));
    this.#running.set(key, flight);
    return flight;
  }
}
