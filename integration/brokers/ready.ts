import { setTimeout as delay } from "node:timers/promises";
import { kinds } from "./kinds.ts";
import type { BrokerAddress, BrokerName } from "./types.ts";

export interface ReadyOptions {
  /** Milliseconds until we give up. Default 90 s: Kafka needs 20 s after SIGKILL on a quiet machine. */
  readonly within?: number;
  /** Says why waiting is pointless, for example that the process has ended. `failure`: of the last attempt. */
  readonly hopeless?: (failure: Error) => string | undefined | Promise<string | undefined>;
  /** The end of the broker's log, for the error message. */
  readonly tail?: () => Promise<string>;
}

/** Resolves with the server's version, as far as it says, once the broker really serves. */
export async function untilReady(
  broker: BrokerName,
  address: BrokerAddress,
  options: ReadyOptions = {},
): Promise<string | undefined> {
  const { within = 90_000, hopeless, tail } = options;
  const deadline = Date.now() + within;
  for (;;) {
    const failure = await kinds[broker].probe(address).catch((error: unknown) => error as Error);
    if (!(failure instanceof Error)) return failure;
    const end =
      (await hopeless?.(failure)) ?? (Date.now() > deadline ? `did not answer within ${within} ms` : undefined);
    if (end !== undefined) {
      const log = tail ? `\nend of its log:\n${await tail()}` : "";
      throw new Error(`${end}; last answer: ${failure.message}${log}`, { cause: failure });
    }
    await delay(200);
  }
}
