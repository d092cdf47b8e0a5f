import type { Capabilities, DriverError, Limits, Runtime, Sender } from "../driver/index.ts";

export interface SendQueueOptions {
  /** First word of error messages. */
  readonly driver: string;
  readonly runtime: Runtime;
  /** Of the current connection, or of the last one. */
  limits(): Limits;
  capabilities(): Capabilities;
  /**
   * The current sender, or the next one. A rejection with a retryable DriverError is asked again after a back-off; any other one
   * means that there will be none, and fails all that waits.
   */
  sender(): Promise<Sender>;
  /** Bound on what is queued or sent and unconfirmed. Behind it a line of waiting callers: 8 × the messages, 2 × the bytes. */
  readonly buffer: { readonly messages: number; readonly bytes: number };
  report?(event: SendQueueEvent): void;
}

/**
 * - `failing`: a call failed and is tried again in `waitMs`.  - `flowing`: a call succeeded after that.
 * - `fault`: a callback threw, or the driver broke its contract.
 */
export type SendQueueEvent =
  | { readonly kind: "failing"; readonly error: DriverError; readonly waitMs: number }
  | { readonly kind: "flowing" }
  | { readonly kind: "fault"; readonly error: unknown };

export interface SendQueueHealth {
  /** Unsettled items: queued, sent and unconfirmed, and waiting for room. */
  readonly pending: number;
  readonly bytes: number;
  /** Those that wait for room. */
  readonly waiting: number;
  /** Milliseconds since the oldest unsettled one came. */
  readonly oldestMs: number | undefined;
  /** Why the last call failed; `undefined` once one succeeded. */
  readonly lastError: DriverError | undefined;
  readonly lastConfirmedAt: Date | undefined;
}
