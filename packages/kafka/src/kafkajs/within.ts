import type { Runtime } from "@sluice/core/driver";

/** Resolves when `work` settled, or after `ms`. kafkajs waits without limit for requests whose peer is gone. */
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
