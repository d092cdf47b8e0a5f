import { DriverError, type Runtime } from "@sluice/core/driver";
import { translate } from "./errors.ts";

export interface Bound {
  readonly runtime: Runtime;
  /** First words of the error: `cannot create queue "a"`. */
  readonly doing: string;
  readonly signal?: AbortSignal | undefined;
  /** @default 20_000, above what the SDK's own time limits and repetitions take */
  readonly ms?: number;
}

/** A call of the SDK that ends at the signal or after its time, with a DriverError. */
export async function call<T>(bound: Bound, run: (options: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
  try {
    return await timed(bound, run);
  } catch (error) {
    throw translate(error, bound.doing);
  }
}

/** The same with the SDK's own error, for those who must know whether anything reached the service. */
export async function timed<T>(
  { runtime, doing, signal, ms = 20_000 }: Bound,
  run: (options: { abortSignal: AbortSignal }) => Promise<T>,
): Promise<T> {
  if (signal?.aborted) throw new DriverError("ABORTED", `sqs-sns: ${doing}: the caller's signal aborted`);
  const ended = new AbortController();
  const abort = () => ended.abort();
  let late = false;
  signal?.addEventListener("abort", abort, { once: true });
  const cancel = runtime.timer(ms, () => {
    late = true;
    ended.abort();
  });
  try {
    return await run({ abortSignal: ended.signal });
  } catch (error) {
    if (late) throw new DriverError("UNAVAILABLE", `sqs-sns: ${doing}: no answer within ${ms} ms`, { cause: error });
    throw error;
  } finally {
    cancel();
    signal?.removeEventListener("abort", abort);
  }
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

/** In parts of at most `size`. */
export function parts<T>(all: readonly T[], size: number): T[][] {
  const found: T[][] = [];
  for (let start = 0; start < all.length; start += size) found.push(all.slice(start, start + size));
  return found;
}

/** Runs `work` for all, at most `width` at once. */
export async function each<T>(all: readonly T[], width: number, work: (one: T) => Promise<void>): Promise<void> {
  const waiting = all.values();
  const line = async () => {
    for (const one of waiting) await work(one);
  };
  await Promise.all(Array.from({ length: Math.min(width, all.length) }, line));
}

/** Resolves when `work` ended, however, or when the signal aborts. */
export function untilAborted(signal: AbortSignal, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      signal.removeEventListener("abort", finish);
      resolve();
    };
    if (signal.aborted) return finish();
    signal.addEventListener("abort", finish, { once: true });
    work.then(finish, finish);
  });
}
