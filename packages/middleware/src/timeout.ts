import { type AttemptMiddleware, type Context, milliseconds, nodeRuntime, SluiceError } from "@sluice/core";
import type { Duration, Runtime } from "@sluice/core";

export interface TimeoutOptions {
  /** Clock and timers. @default the process's own */
  readonly runtime?: Runtime;
}

/**
 * A time limit for each run of a handler: when it is over, `context.signal` aborts with the SluiceError `HANDLER_TIMEOUT`, and the
 * run fails with that error as soon as it ends, whatever it returns: it is tried again by policy. The handler is never left
 * alone: no second run begins beside one that does not listen.
 *
 * The subscription's own `timeout` stays the last resort, for handlers that do not end: it closes their lane, reports them as
 * stuck and lets the rest go on. This one is for what that cannot say: one limit for all subscriptions of a bus, another one per
 * topic, more time for later attempts. Give it less than the subscription's.
 *
 * In a batch subscription the limit holds for each message from the moment when it waits for its batch.
 *
 * @param limit a duration, or what decides it per run; `0` and `undefined` = no limit
 * @throws SluiceError `CONFIG` for an illegal duration
 */
export function timeout(
  limit: Duration | ((context: Context) => Duration | undefined),
  { runtime = nodeRuntime }: TimeoutOptions = {},
): AttemptMiddleware {
  const fixedMs = typeof limit === "function" ? undefined : milliseconds(limit, "timeout");
  const limitOf = (context: Context): number =>
    fixedMs ?? milliseconds((typeof limit === "function" ? limit(context) : limit) ?? 0, "timeout");
  return async function timeout(context, next) {
    const limitMs = limitOf(context);
    if (limitMs === 0) return next();
    let exceeded: SluiceError | undefined;
    const cancel = runtime.timer(limitMs, () => {
      const { topic, id } = context.message;
      exceeded = new SluiceError(
        "HANDLER_TIMEOUT",
        `timeout: the handler of topic "${topic}" ran longer than ${limitMs} ms for message ${id}; ` +
          `give it more time, or end the work when context.signal aborts`,
      );
      context.abort(exceeded);
    });
    try {
      return await next();
    } finally {
      cancel();
      // oxlint-disable-next-line no-unsafe-finally -- the limit's error is the run's result, also where the run threw
      if (exceeded) throw exceeded;
    }
  };
}
