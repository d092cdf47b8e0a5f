import { DriverError, type Runtime } from "@sluice/core/driver";

export interface Bound {
  readonly runtime: Runtime;
  readonly ms: number;
  readonly signal?: AbortSignal | undefined;
  /** What the error says when there is no answer in time, or the signal aborts. */
  readonly late: () => DriverError;
}

/**
 * The answer, or an error after `ms` or at the signal. n.b. ioredis has promises that never settle (a reply lost in a reconnect, a
 * handshake that never ends): none of them is awaited without this.
 */
export function bounded<T>(answer: Promise<T>, { runtime, ms, signal, late }: Bound): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const done = () => {
      cancel();
      signal?.removeEventListener("abort", expired);
    };
    const expired = () => {
      done();
      reject(late());
    };
    const cancel = runtime.timer(ms, expired);
    signal?.addEventListener("abort", expired, { once: true });
    answer.then(
      (value) => {
        done();
        resolve(value);
      },
      (error: unknown) => {
        done();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
    if (signal?.aborted) expired();
  });
}

/** A promise with its handle, for "resolves once" members. */
export interface Settled<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
}

export function settled<T>(): Settled<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { promise, resolve };
}

/** Resolves when the work ended, however, or the signal aborted. */
export function unlessAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      signal.removeEventListener("abort", end);
      resolve();
    };
    signal.addEventListener("abort", end, { once: true });
    work.then(end, end);
    if (signal.aborted) end();
  });
}
