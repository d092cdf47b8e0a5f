/**
 * What a driver may report. Closed: an unknown native error stays `UNKNOWN`, with its cause.
 *
 * - `UNAVAILABLE`      the broker does not answer, or says "later"
 * - `UNAUTHORIZED`     credentials refused          - `FORBIDDEN`    no right to do this
 * - `NOT_FOUND`        topic, queue or group missing - `MISMATCH`    a resource exists with other settings
 * - `INVALID_MESSAGE`  the broker (or the wire) cannot carry this record
 * - `TOO_LARGE`        above a size limit           - `UNROUTABLE`   nobody keeps it
 * - `REFUSED`          the broker refused this record now (queue full, quota)
 * - `LOST`             the lease, session or connection that this belonged to is gone
 * - `BUSY`             the operation needs an idle group, or an exclusive resource
 * - `UNSUPPORTED`      this broker, version or queue type cannot do it
 * - `CONFIG`           an option is wrong           - `ABORTED`     the caller's signal ended it
 * - `UNKNOWN`          nothing in the table matched
 */
export type DriverErrorCode =
  | "UNAVAILABLE"
  | "UNAUTHORIZED"
  | "FORBIDDEN"
  | "NOT_FOUND"
  | "MISMATCH"
  | "INVALID_MESSAGE"
  | "TOO_LARGE"
  | "UNROUTABLE"
  | "REFUSED"
  | "LOST"
  | "BUSY"
  | "UNSUPPORTED"
  | "CONFIG"
  | "ABORTED"
  | "UNKNOWN";

/** The one error that drivers throw or return. Core wraps it exactly once, and decides what happens next. */
export class DriverError extends Error {
  override readonly name = "DriverError";
  readonly code: DriverErrorCode;
  /** Whether the same call can succeed later without anybody changing anything. */
  readonly retryable: boolean;

  constructor(code: DriverErrorCode, message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? (code === "UNAVAILABLE" || code === "REFUSED" || code === "LOST");
  }
}
