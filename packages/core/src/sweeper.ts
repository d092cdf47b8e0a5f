import type { Connection, Runtime } from "./driver/index.ts";

/** Between two sweeps, about: drawn from half of it to one and a half, so that many processes do not sweep at once. */
const sweepMs = 300_000;
/** How long one sweep may take. */
const limitMs = 60_000;

export interface SweeperOptions {
  readonly runtime: Runtime;
  readonly connection: () => Connection | undefined;
  /** How many resources went, or why none could. */
  readonly swept: (count: number, error: unknown) => void;
}

/** Now and then asks the driver to remove what dead broadcast instances left behind. Never keeps the process alive. */
export class Sweeper {
  readonly #options: SweeperOptions;
  #cancel: (() => void) | undefined;
  #limit: AbortController | undefined;
  #stopped = false;

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  /** A second call does nothing. */
  start(): void {
    if (this.#cancel || this.#stopped) return;
    const { runtime } = this.#options;
    const waitMs = sweepMs * (0.5 + runtime.random());
    this.#cancel = runtime.timer(waitMs, () => void this.#sweep(), { background: true });
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
    this.#limit?.abort();
  }

  async #sweep(): Promise<void> {
    const { runtime, connection, swept } = this.#options;
    const limit = new AbortController();
    this.#limit = limit;
    const cancel = runtime.timer(limitMs, () => limit.abort(), { background: true });
    try {
      const count = await connection()?.sweep?.(limit.signal);
      if (count !== undefined && count > 0) swept(count, undefined);
    } catch (error) {
      // The next one tries again.
      if (!this.#stopped) swept(0, error);
    } finally {
      cancel();
      this.#cancel = undefined;
      this.start();
    }
  }
}
