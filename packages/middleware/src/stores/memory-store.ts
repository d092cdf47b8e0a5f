import { nodeRuntime, type Runtime, SluiceError } from "@sluice/core";
import type { Acquired, IdempotencyStore } from "./store.ts";

/** Options of {@link memoryStore}. */
export interface MemoryStoreOptions {
  /** Completed keys that are remembered; beyond it the oldest one is forgotten, and may run again. @default 100_000 */
  readonly most?: number;
  /** Clock. @default Node's own */
  readonly runtime?: Runtime;
}

/** A store inside of this process. */
export interface MemoryStore extends IdempotencyStore {
  /** Completed keys that it remembers now. */
  readonly size: number;
  /** Completed keys forgotten before their time, because there were too many. */
  readonly evicted: number;
}

interface Lock {
  readonly owner: string;
  readonly untilMs: number;
}

/**
 * Keeps everything in this process: for tests, and for duplicates that reach the same instance. Other instances, and this one after
 * a restart, know nothing of it.
 *
 * @throws SluiceError `CONFIG` for an illegal option
 */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  const { most = 100_000, runtime = nodeRuntime } = options;
  if (!Number.isInteger(most) || most < 1) {
    throw new SluiceError("CONFIG", `memoryStore: most is ${most}; give a whole number from 1`);
  }
  return new Memory(most, runtime);
}

class Memory implements MemoryStore {
  readonly #most: number;
  readonly #runtime: Runtime;
  readonly #locks = new Map<string, Lock>();
  /** When each expires; in the order of completion, so that the oldest is the first. */
  readonly #completed = new Map<string, number>();
  evicted = 0;

  constructor(most: number, runtime: Runtime) {
    this.#most = most;
    this.#runtime = runtime;
  }

  get size(): number {
    return this.#completed.size;
  }

  async acquire(key: string, owner: string, lockMs: number): Promise<Acquired> {
    const now = this.#runtime.monotonicMs();
    if ((this.#completed.get(key) ?? Number.NEGATIVE_INFINITY) > now) return { state: "completed" };
    const lock = this.#locks.get(key);
    if (lock && lock.owner !== owner && lock.untilMs > now) return { state: "locked", forMs: lock.untilMs - now };
    this.#locks.delete(key); // to the end: the first ones are those that nobody renews
    this.#locks.set(key, { owner, untilMs: now + lockMs });
    this.#forgetLocks(now);
    return { state: "acquired" };
  }

  async renew(key: string, owner: string, lockMs: number): Promise<boolean> {
    const holds = this.#holds(key, owner);
    if (holds) this.#locks.set(key, { owner, untilMs: this.#runtime.monotonicMs() + lockMs });
    return holds;
  }

  async complete(key: string, owner: string, ttlMs: number): Promise<boolean> {
    if (!this.#holds(key, owner)) return false;
    const now = this.#runtime.monotonicMs();
    this.#locks.delete(key);
    this.#completed.delete(key);
    this.#completed.set(key, now + ttlMs);
    this.#forgetCompleted(now);
    return true;
  }

  async release(key: string, owner: string): Promise<void> {
    if (this.#locks.get(key)?.owner === owner) this.#locks.delete(key);
  }

  #holds(key: string, owner: string): boolean {
    const lock = this.#locks.get(key);
    return lock !== undefined && lock.owner === owner && lock.untilMs > this.#runtime.monotonicMs();
  }

  /** Expired ones at the front: a few per call keep up with what comes. */
  #forgetLocks(now: number): void {
    let looks = 2;
    for (const [key, { untilMs }] of this.#locks) {
      if (untilMs > now || looks-- === 0) return;
      this.#locks.delete(key);
    }
  }

  #forgetCompleted(now: number): void {
    for (const [key, untilMs] of this.#completed) {
      const full = this.#completed.size > this.#most;
      if (untilMs > now && !full) return;
      this.#completed.delete(key);
      if (untilMs > now) this.evicted++;
    }
  }
}
