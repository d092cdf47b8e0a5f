import { DriverError, type Runtime } from "@sluice/core/driver";

/** Longest wait for an answer of a broker whose connection still lives: a queue without a majority, say. */
export const answerMs = 15_000;

export interface Bound {
  readonly runtime: Runtime;
  /** First words of the error: `cannot open queue "a.b"`. */
  readonly doing: string;
  readonly ms?: number;
  readonly signal?: AbortSignal;
}

/** The answer, or a DriverError after `ms` or at the signal. A late rejection of `answer` is not unhandled. */
export function bounded<T>(answer: Promise<T>, { runtime, doing, ms = answerMs, signal }: Bound): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const cancel = runtime.timer(ms, () =>
      end(new DriverError("UNAVAILABLE", `rabbitmq: ${doing}: no answer within ${ms} ms`)),
    );
    const aborted = () =>
      end(new DriverError("ABORTED", `rabbitmq: ${doing}: the caller's signal aborted`, { cause: signal?.reason }));
    const done = () => {
      cancel();
      signal?.removeEventListener("abort", aborted);
    };
    const end = (error: DriverError) => {
      done();
      reject(error);
    };
    signal?.addEventListener("abort", aborted, { once: true });
    if (signal?.aborted) aborted();
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
  });
}

/** Resolves when `work` ended, however, or after `ms`, or at the signal. For orderly ends that may not hang. */
export async function attempt(work: Promise<unknown>, bound: Bound): Promise<void> {
  await bounded(work, bound).catch(() => undefined);
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
