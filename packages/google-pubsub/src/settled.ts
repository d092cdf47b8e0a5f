/** A promise with its handle, for members that resolve once. */
export interface Settled<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
}

export function settled<T>(): Settled<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { promise, resolve };
}

/** Resolves when the work ended, however, or when the signal aborts. */
export function orAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      signal.removeEventListener("abort", finish);
      resolve();
    };
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", finish, { once: true });
    work.then(finish, finish);
  });
}
