/**
 * The only source of time, chance and background work for core and every driver, so that the whole engine runs under a
 * simulated clock. Leases, time-outs and back-off use `monotonicMs`; `wallMs` only stamps and compares times on the wire.
 */
export interface Runtime {
  wallMs(): number;
  monotonicMs(): number;
  /** 0 ≤ x < 1. */
  random(): number;
  /** A new id, unique without coordination. */
  id(): string;
  /** Runs `run` once after `ms`; the answer cancels it. A timer alone must not keep the process alive when `background`. */
  timer(ms: number, run: () => void, options?: { readonly background?: boolean }): () => void;
  /** Runs after everything that is ready now, I/O included: a turn of the event loop. */
  defer(run: () => void): void;
}

/** Resolves after `ms`, or as soon as the signal aborts: look at `signal.aborted` afterwards. Never rejects. */
export function sleep(runtime: Runtime, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      cancel();
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const cancel = runtime.timer(ms, finish);
    signal?.addEventListener("abort", finish, { once: true });
  });
}
