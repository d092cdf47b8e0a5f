import { type Duration, milliseconds } from "../duration.ts";
import { SluiceError } from "../errors.ts";
import type { RetryOptions } from "./options.ts";

/** RetryOptions with every default filled in, in milliseconds. */
export interface RetryPolicy {
  readonly attempts: number;
  readonly firstDelayMs: number;
  readonly factor: number;
  readonly maxDelayMs: number;
  readonly inPlaceMs: number;
}

/** @throws SluiceError `CONFIG` naming the option that is wrong */
export function retryPolicy(options: RetryOptions = {}, ordered: boolean): RetryPolicy {
  const { attempts = ordered ? 6 : 8, factor = 4 } = options;
  if (!Number.isInteger(attempts) || attempts < 1) {
    throw new SluiceError("CONFIG", `sluice: retry.attempts is ${attempts}; give a whole number, 1 or more`);
  }
  if (!(factor >= 1)) throw new SluiceError("CONFIG", `sluice: retry.factor is ${factor}; give 1 or more`);
  const duration = (value: Duration, name: string) => milliseconds(value, `retry.${name}`);
  return {
    attempts,
    factor,
    firstDelayMs: duration(options.firstDelay ?? "100ms", "firstDelay"),
    maxDelayMs: duration(options.maxDelay ?? (ordered ? "30s" : "10m"), "maxDelay"),
    inPlaceMs: ordered ? Number.POSITIVE_INFINITY : duration(options.inPlace ?? "2s", "inPlace"),
  };
}

/** The ceiling of the wait after `failures` failed attempts (1 or more); the wait itself is drawn from 0 to it. */
export function delayCeiling(policy: RetryPolicy, failures: number): number {
  return Math.min(policy.maxDelayMs, policy.firstDelayMs * policy.factor ** (failures - 1));
}

/** The longest time that all waits of one message can take together. */
export function totalWait(policy: RetryPolicy): number {
  let total = 0;
  for (let failures = 1; failures < policy.attempts; failures++) total += delayCeiling(policy, failures);
  return total;
}
