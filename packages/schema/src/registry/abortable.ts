import { SluiceError } from "@sluice/core";

export interface CallOptions {
  /** Ends the waiting with `ABORTED`. The request may go on: others may wait for the same answer. */
  readonly signal?: AbortSignal;
}

/** What `work` gives, unless the signal ends it first. */
export function abortable<V>(work: Promise<V>, { signal }: CallOptions = {}): Promise<V> {
  if (!signal) return work;
  const { promise, reject, resolve } = Promise.withResolvers<V>();
  const aborted = () =>
    reject(new SluiceError("ABORTED", "registry: the call was aborted by its signal", { cause: signal.reason }));
  if (signal.aborted) aborted();
  else signal.addEventListener("abort", aborted, { once: true });
  void work.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
  return promise;
}
