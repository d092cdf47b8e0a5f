import { type Runtime, UnavailableError } from "@sluice/core";
import type { IdempotencyStore } from "../stores/store.ts";

/** Whose lock it is. */
interface LockOptions {
  readonly runtime: Runtime;
  readonly key: string;
  readonly owner: string;
  readonly lockMs: number;
}

/** The owner's lock on one key while its handler runs: extended every third of its time. */
export class Lock {
  readonly #store: IdempotencyStore;
  readonly #options: LockOptions;
  readonly #gone: () => void;
  #cancel: (() => void) | undefined;
  #ended = false;
  /** The store said that it is not ours any more. */
  lost = false;

  /** `gone`: the store said so while the handler runs. */
  constructor(store: IdempotencyStore, options: LockOptions, gone: () => void) {
    this.#store = store;
    this.#options = options;
    this.#gone = gone;
    this.#renewLater();
  }

  #renewLater(): void {
    const { runtime, lockMs } = this.#options;
    this.#cancel = runtime.timer(lockMs / 3, () => void this.#renew(), { background: true });
  }

  async #renew(): Promise<void> {
    const { key, owner, lockMs } = this.#options;
    // A store that is away now may be back in time; the last word is that of `complete`.
    const held = await this.#store.renew(key, owner, lockMs).catch(() => true);
    if (this.#ended) return;
    if (held) return this.#renewLater();
    this.lost = true;
    this.#gone();
  }

  /** Renews no more. */
  stop(): void {
    this.#ended = true;
    this.#cancel?.();
  }

  /** Stops, and gives the lock back; where the store is away, it expires. */
  async release(): Promise<void> {
    this.stop();
    const { key, owner } = this.#options;
    await this.#store.release(key, owner).catch(() => undefined);
  }
}

/** Whatever a store rejects with is no fault of the message: it waits until the store is back. */
export async function asked<T>(what: string, key: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    const text = `idempotent: the store could not ${what} "${key}"; messages wait until it can: see cause`;
    throw new UnavailableError(text, { cause: error });
  }
}
