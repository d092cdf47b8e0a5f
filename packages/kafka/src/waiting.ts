import { DriverError, type Runtime } from "@sluice/core/driver";

/** Resolves when `work` settled, or after `ms`. For good-byes: kafkajs waits without limit for requests whose peer is gone. */
export function within(runtime: Runtime, ms: number, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const cancel = runtime.timer(ms, resolve);
    const finish = (): void => {
      cancel();
      resolve();
    };
    // A failed good-bye changes nothing: the sockets are closed right after it.
    work.then(finish, finish);
  });
}

/** The same as `work`, unless the signal aborts first: then it rejects, and `work` ends unheard. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal, doing: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new DriverError("ABORTED", `kafka: ${doing}: ended by its signal`));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
