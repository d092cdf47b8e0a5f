import { type Duration, milliseconds } from "./duration.ts";

const made: unique symbol = Symbol("sluice.outcome");

/** The fate that a handler gives its message, made by `context` and returned. Returning nothing means done. */
export type Outcome = RetryOutcome | DeferOutcome | DeadLetterOutcome | DropOutcome;

export interface RetryOutcome {
  readonly [made]: true;
  readonly kind: "retry";
  /** Instead of the policy's next delay. */
  readonly delayMs: number | undefined;
  readonly reason: string | undefined;
}

export interface DeferOutcome {
  readonly [made]: true;
  readonly kind: "defer";
  readonly delayMs: number;
  readonly reason: string | undefined;
}

export interface DeadLetterOutcome {
  readonly [made]: true;
  readonly kind: "dead-letter";
  readonly reason: string;
}

export interface DropOutcome {
  readonly [made]: true;
  readonly kind: "drop";
  readonly reason: string;
}

/**
 * Makers of outcomes. In a handler use those of `context`, which notice one that was not returned.
 * @throws SluiceError `CONFIG` for an illegal delay
 */
export const outcome: {
  retry(options?: { readonly delay?: Duration; readonly reason?: string }): RetryOutcome;
  defer(delay: Duration, reason?: string): DeferOutcome;
  deadLetter(reason: string): DeadLetterOutcome;
  drop(reason: string): DropOutcome;
} = {
  retry: ({ delay, reason } = {}) => ({
    [made]: true,
    kind: "retry",
    delayMs: delay === undefined ? undefined : milliseconds(delay, "retry delay"),
    reason,
  }),
  defer: (delay, reason) => ({ [made]: true, kind: "defer", delayMs: milliseconds(delay, "defer delay"), reason }),
  deadLetter: (reason) => ({ [made]: true, kind: "dead-letter", reason }),
  drop: (reason) => ({ [made]: true, kind: "drop", reason }),
};

/** Whether a handler's return value is an outcome. */
export function isOutcome(value: unknown): value is Outcome {
  return typeof value === "object" && value !== null && made in value;
}
