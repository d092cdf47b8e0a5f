import { isPermanent, isSluiceError, isUnavailable } from "../errors.ts";
import { isOutcome, type Outcome } from "../outcome.ts";
import { delayCeiling, type RetryPolicy } from "./retry-policy.ts";

/** What one run of the handler came to. */
export type RunResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: unknown };

export type DeadLetterReason = "permanent" | "invalid" | "exhausted" | "rejected" | "crash-suspect";

/** What the engine does with the message now. */
export type Fate =
  | { readonly kind: "done" }
  /** Wait and run again, here (`inPlace`) or through the group's own entry. */
  | {
      readonly kind: "retry" | "defer";
      readonly delayMs: number;
      readonly inPlace: boolean;
      readonly reason: string | undefined;
      readonly error: unknown;
    }
  | {
      readonly kind: "dead-letter";
      readonly reason: DeadLetterReason;
      readonly detail: string;
      readonly error: unknown;
    }
  | { readonly kind: "drop"; readonly reason: string; readonly error: unknown }
  /** Something the handler needs is down: keep the message, count nothing, pause the subscription. */
  | { readonly kind: "hold"; readonly error: unknown };

export interface FateInput {
  readonly result: RunResult;
  /** Failed attempts before this run. */
  readonly failures: number;
  readonly policy: RetryPolicy;
  /** An ordered retry never leaves its lane; a broadcast has no own entry. */
  readonly staysHere: boolean;
  /** The run has not ended (time limit): it cannot run again here. */
  readonly mustMove: boolean;
  readonly deadLetter: boolean;
  /** 0 ≤ x < 1. */
  readonly random: number;
}

const done: Fate = { kind: "done" };

/**
 * The table of fates (docs/delivery.md), as a pure function: returns → done; outcome → that; PermanentError → dead letter;
 * UnavailableError → hold; anything else → retry until the attempts are used up.
 */
export function decideFate(input: FateInput): Fate {
  const { result } = input;
  if (result.ok) return isOutcome(result.value) ? fateOfOutcome(result.value, input) : done;
  const { error } = result;
  if (isUnavailable(error)) return input.mustMove ? retry(input, undefined, undefined, error) : { kind: "hold", error };
  if (isPermanent(error)) return giveUp(input, "permanent", describe(error), error);
  // What the handler itself could not publish is its own fault, not this message's.
  if (isSluiceError(error, "INVALID_PAYLOAD") && error.outcome === undefined)
    return giveUp(input, "invalid", error.message, error);
  return retry(input, undefined, undefined, error);
}

function fateOfOutcome(outcome: Outcome, input: FateInput): Fate {
  switch (outcome.kind) {
    case "retry":
      return retry(input, outcome.delayMs, outcome.reason, undefined);
    case "defer": {
      const { delayMs, reason } = outcome;
      return { kind: "defer", delayMs, inPlace: staysInPlace(input, delayMs), reason, error: undefined };
    }
    case "dead-letter":
      return giveUp(input, "rejected", outcome.reason, undefined);
    case "drop":
      return { kind: "drop", reason: outcome.reason, error: undefined };
  }
}

function retry(input: FateInput, asked: number | undefined, reason: string | undefined, error: unknown): Fate {
  const failures = input.failures + 1;
  if (failures >= input.policy.attempts) return giveUp(input, "exhausted", reason ?? describe(error), error);
  const delayMs = asked ?? Math.round(input.random * delayCeiling(input.policy, failures));
  return { kind: "retry", delayMs, inPlace: staysInPlace(input, delayMs), reason, error };
}

function staysInPlace(input: FateInput, delayMs: number): boolean {
  return input.staysHere || (!input.mustMove && delayMs <= input.policy.inPlaceMs);
}

/** A dead letter, or a drop where there is none. */
export function giveUp(
  input: Pick<FateInput, "deadLetter">,
  reason: DeadLetterReason,
  detail: string,
  error: unknown,
): Fate {
  if (!input.deadLetter) return { kind: "drop", reason: `${reason}: ${detail}`, error };
  return { kind: "dead-letter", reason, detail, error };
}

/** A thrown value in one line; also for what is no Error. */
export function describe(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message || error.name : error);
  } catch {
    return "a value that cannot be shown";
  }
}
