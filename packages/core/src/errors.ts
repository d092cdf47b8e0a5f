/**
 * Every error that Sluice gives to a caller has one of these codes.
 *
 * | code | means | what to do |
 * |---|---|---|
 * | `CONFIG` | an option, name or topic is wrong | read the message: it names the option and the legal values |
 * | `UNSUPPORTED` | this broker cannot do it | the message names what to use instead |
 * | `INVALID_PAYLOAD` | the payload fails its schema or cannot be encoded | fix the payload; `issues` lists paths |
 * | `INVALID_MESSAGE` | id, key or header cannot be carried | the message names the field and the limit |
 * | `TOO_LARGE` | above the broker's size limit | send less, or use a claim check |
 * | `UNROUTABLE` | nobody keeps the message | create the group first, or state `unrouted: 'allow'` on the topic |
 * | `TIMEOUT` | the deadline passed | see `outcome`: `unknown` may have been stored |
 * | `ABORTED` | your signal ended it | see `outcome` |
 * | `UNAVAILABLE` | the broker cannot be reached | it is tried again until the deadline |
 * | `UNAUTHORIZED`, `FORBIDDEN` | credentials or rights | fix them; tried again only where credentials renew themselves, until the deadline |
 * | `NOT_FOUND` | a resource is missing and provisioning is off | create it; `bus.plan()` lists all |
 * | `MISMATCH` | a resource exists with other settings | the message names the setting and both values |
 * | `REFUSED` | the broker refuses more (queue full, quota) | slow down; it was tried until the deadline |
 * | `BUSY` | the operation needs an idle group | stop the consumers first |
 * | `BACKPRESSURE` | the publish buffer stayed full until the deadline | publish less at once, or raise `publish.buffer` |
 * | `CLOSED` | the bus or subscription is closed | – |
 * | `LEASE_LOST` | the broker gave the message to another holder | stop the work; it runs again |
 * | `HANDLER_TIMEOUT` | the handler exceeded its time limit | – |
 * | `OUTCOME_UNUSED` | an outcome was made and not returned | `return context.retry(…)` |
 * | `UNKNOWN` | the client library reported something unforeseen | see `cause` |
 */
export type ErrorCode =
  | "CONFIG"
  | "UNSUPPORTED"
  | "INVALID_PAYLOAD"
  | "INVALID_MESSAGE"
  | "TOO_LARGE"
  | "UNROUTABLE"
  | "TIMEOUT"
  | "ABORTED"
  | "UNAVAILABLE"
  | "UNAUTHORIZED"
  | "FORBIDDEN"
  | "NOT_FOUND"
  | "MISMATCH"
  | "REFUSED"
  | "BUSY"
  | "BACKPRESSURE"
  | "CLOSED"
  | "LEASE_LOST"
  | "HANDLER_TIMEOUT"
  | "OUTCOME_UNUSED"
  | "UNKNOWN";

/** One schema complaint: where, and what. */
export interface Issue {
  /** Dotted path into the payload, `''` for the whole. */
  readonly path: string;
  readonly message: string;
}

export interface SluiceErrorOptions {
  readonly cause?: unknown;
  /** Publishing only: `not-stored` is certain; `unknown` may be stored, so sending again may duplicate. */
  readonly outcome?: "not-stored" | "unknown";
  readonly issues?: readonly Issue[];
}

const brand: unique symbol = Symbol.for("sluice.error");

/** The one error class of Sluice. Programs branch on `code`; people read `message`; `cause` is the native error. */
export class SluiceError extends Error {
  override readonly name: string = "SluiceError";
  readonly code: ErrorCode;
  readonly outcome: "not-stored" | "unknown" | undefined;
  readonly issues: readonly Issue[];

  constructor(code: ErrorCode, message: string, options: SluiceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    Object.defineProperty(this, brand, { value: true });
    this.code = code;
    this.outcome = options.outcome;
    this.issues = options.issues ?? [];
  }
}

/** True for a SluiceError of any copy of this package, with that code if one is given. */
export function isSluiceError(error: unknown, code?: ErrorCode): error is SluiceError {
  if (typeof error !== "object" || error === null || !(brand in error)) return false;
  return code === undefined || (error as { readonly code?: unknown }).code === code;
}

const permanent: unique symbol = Symbol.for("sluice.permanent");
const unavailable: unique symbol = Symbol.for("sluice.unavailable");

/** Thrown by a handler: trying again cannot help. The message is dead-lettered at once, reason `permanent`. */
export class PermanentError extends Error {
  override readonly name: string = "PermanentError";

  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    Object.defineProperty(this, permanent, { value: true });
  }
}

/**
 * Thrown by a handler: something it needs is down. Counts no attempt; the subscription pauses, tries this message again with
 * back-off, and goes on when it succeeds.
 */
export class UnavailableError extends Error {
  override readonly name: string = "UnavailableError";

  constructor(message?: string, options?: ErrorOptions) {
    super(message, options);
    Object.defineProperty(this, unavailable, { value: true });
  }
}

/** Whether a thrown value is a PermanentError, of any copy of this package. */
export function isPermanent(error: unknown): boolean {
  return typeof error === "object" && error !== null && permanent in error;
}

/** Whether a thrown value is an UnavailableError, of any copy of this package. */
export function isUnavailable(error: unknown): boolean {
  return typeof error === "object" && error !== null && unavailable in error;
}
