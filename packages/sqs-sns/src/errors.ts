import { DriverError, type DriverErrorCode } from "@sluice/core/driver";

type Row = readonly [code: DriverErrorCode, retryable: boolean];

/** By the name of the error, without "Exception" at its end. Retryable = the same call can succeed later by itself. */
const names: Readonly<Record<string, Row>> = {
  QueueDoesNotExist: ["NOT_FOUND", false],
  "AWS.SimpleQueueService.NonExistentQueue": ["NOT_FOUND", false],
  NotFound: ["NOT_FOUND", false],
  ResourceNotFound: ["NOT_FOUND", false],
  QueueNameExists: ["MISMATCH", false],
  // A deleted queue's name cannot be used for a minute.
  QueueDeletedRecently: ["UNAVAILABLE", true],
  "AWS.SimpleQueueService.QueueDeletedRecently": ["UNAVAILABLE", true],
  PurgeQueueInProgress: ["BUSY", true],
  OverLimit: ["REFUSED", true],
  RequestThrottled: ["REFUSED", true],
  Throttled: ["REFUSED", true],
  Throttling: ["REFUSED", true],
  TooManyRequests: ["REFUSED", true],
  KmsThrottled: ["REFUSED", true],
  KMSThrottling: ["REFUSED", true],
  TopicLimitExceeded: ["REFUSED", false],
  SubscriptionLimitExceeded: ["REFUSED", false],
  FilterPolicyLimitExceeded: ["REFUSED", false],
  AccessDenied: ["FORBIDDEN", false],
  AuthorizationError: ["FORBIDDEN", false],
  KmsAccessDenied: ["FORBIDDEN", false],
  KMSAccessDenied: ["FORBIDDEN", false],
  KmsDisabled: ["FORBIDDEN", false],
  KMSDisabled: ["FORBIDDEN", false],
  InvalidSecurity: ["FORBIDDEN", false],
  InvalidClientTokenId: ["UNAUTHORIZED", false],
  UnrecognizedClient: ["UNAUTHORIZED", false],
  InvalidAccessKeyId: ["UNAUTHORIZED", false],
  SignatureDoesNotMatch: ["UNAUTHORIZED", false],
  InvalidSignature: ["UNAUTHORIZED", false],
  IncompleteSignature: ["UNAUTHORIZED", false],
  MissingAuthenticationToken: ["UNAUTHORIZED", false],
  CredentialsProviderError: ["UNAUTHORIZED", false],
  TokenProviderError: ["UNAUTHORIZED", false],
  CredentialsRefreshError: ["UNAUTHORIZED", true],
  // The provider is asked for new ones, so the next call can succeed.
  ExpiredToken: ["UNAUTHORIZED", true],
  RequestExpired: ["UNAUTHORIZED", true],
  ReceiptHandleIsInvalid: ["LOST", true],
  MessageNotInflight: ["LOST", true],
  "AWS.SimpleQueueService.MessageNotInflight": ["LOST", true],
  InvalidMessageContents: ["INVALID_MESSAGE", false],
  InvalidAttributeName: ["INVALID_MESSAGE", false],
  InvalidAttributeValue: ["INVALID_MESSAGE", false],
  BatchRequestTooLong: ["TOO_LARGE", false],
  "AWS.SimpleQueueService.BatchRequestTooLong": ["TOO_LARGE", false],
  UnsupportedOperation: ["UNSUPPORTED", false],
  "AWS.SimpleQueueService.UnsupportedOperation": ["UNSUPPORTED", false],
  InternalError: ["UNAVAILABLE", true],
  InternalFailure: ["UNAVAILABLE", true],
  ServiceUnavailable: ["UNAVAILABLE", true],
  TimeoutError: ["UNAVAILABLE", true],
  AbortError: ["ABORTED", false],
  InvalidAddress: ["CONFIG", false],
  ECONNREFUSED: ["UNAVAILABLE", true],
  ECONNRESET: ["UNAVAILABLE", true],
  ECONNABORTED: ["UNAVAILABLE", true],
  EPIPE: ["UNAVAILABLE", true],
  ETIMEDOUT: ["UNAVAILABLE", true],
  EHOSTUNREACH: ["UNAVAILABLE", true],
  ENETUNREACH: ["UNAVAILABLE", true],
  ENOTFOUND: ["UNAVAILABLE", true],
  EAI_AGAIN: ["UNAVAILABLE", true],
  EPROTO: ["CONFIG", false],
  ERR_INVALID_URL: ["CONFIG", false],
};

/** Texts that say more than the name; the first match wins. */
const texts: readonly (readonly [pattern: RegExp, code: DriverErrorCode, retryable: boolean])[] = [
  [/Region is missing/, "CONFIG", false],
  [/receipt handle (has expired|.*is not valid)|handle is invalid/is, "LOST", true],
  [/message too long|must be shorter than|Batch requests cannot be longer|reason: .*size/i, "TOO_LARGE", false],
  [/already exists with different attributes/i, "MISMATCH", false],
  [/queue does not exist|topic does not exist/i, "NOT_FOUND", false],
  [/socket hang up|connection timed out|request did not complete/i, "UNAVAILABLE", true],
  [/certificate|wrong version number|ssl3?_/i, "CONFIG", false],
  // Something answered that speaks another language.
  [/deserialization|unexpected (token|end of)|char .* is not expected|parse error/i, "UNAVAILABLE", true],
];

/** What to do about it, at the end of the message. */
const advice: Partial<Record<DriverErrorCode, string>> = {
  UNAVAILABLE: "check that the endpoint is right and can be reached",
  UNAUTHORIZED: "check the credentials",
  FORBIDDEN: "give the role the permission; plan() lists them",
  NOT_FOUND: "create it, or connect with provision: 'create'",
  MISMATCH: "delete it or use the settings that it has",
  CONFIG: "check region, endpoint and credentials",
};

interface Native {
  readonly name: string;
  readonly code: string;
  readonly message: string;
  readonly status: number | undefined;
}

/** Translates what the SDK reports. `doing` names the operation and its object: `cannot receive from "orders_to-billing"`. */
export function translate(error: unknown, doing: string): DriverError {
  if (error instanceof DriverError) return error;
  const native = toNative(error);
  const [code, retryable] = classify(native);
  const todo = advice[code];
  const said = [native.name, native.message].filter((part) => part !== "" && part !== "Error").join(": ");
  return new DriverError(code, `sqs-sns: ${doing}: ${said}${todo ? `; ${todo}` : ""}`, { retryable, cause: error });
}

/** One entry of a batch that failed: they have a code and a text instead of an error. */
export function translateEntry(
  entry: { readonly Code?: string | undefined; readonly Message?: string | undefined },
  doing: string,
): DriverError {
  return translate(Object.assign(new Error(entry.Message ?? ""), { name: entry.Code ?? "Unknown" }), doing);
}

function classify({ name, code, message, status }: Native): Row {
  for (const [pattern, found, retryable] of texts) if (pattern.test(message)) return [found, retryable];
  const row = known(name) ?? known(code);
  if (row) return row;
  if (status !== undefined && status >= 500) return ["UNAVAILABLE", true];
  if (status === 403) return ["FORBIDDEN", false];
  if (status === 429) return ["REFUSED", true];
  // An answer without any code of theirs: it came from something else.
  if (status !== undefined && /^Unknown(Error)?$/.test(name)) return ["UNAVAILABLE", true];
  return ["UNKNOWN", false];
}

function known(name: string): Row | undefined {
  return Object.hasOwn(names, name) ? names[name] : names[name.replace(/(Exception|Fault)$/, "")];
}

/** Several addresses tried by Node itself arrive as one error without a text of its own. */
function toNative(error: unknown): Native {
  if (error instanceof AggregateError && error.errors.length > 0 && !error.message) return toNative(error.errors[0]);
  if (!(error instanceof Error)) return { name: "", code: "", message: String(error), status: undefined };
  const { code, $metadata } = error as Error & {
    readonly code?: unknown;
    readonly $metadata?: { readonly httpStatusCode?: number };
  };
  return {
    name: error.name,
    code: typeof code === "string" ? code : "",
    message: error.message.trim(),
    status: $metadata?.httpStatusCode,
  };
}

/** Codes with which the request never reached the service. */
const neverLeft = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);

/** Whether a failed send certainly stored nothing: it never arrived, or the service said no. Everything else may have stored. */
export function storedNothing(error: unknown): boolean {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.every(storedNothing);
  if (!(error instanceof Error)) return false;
  const { code, $fault, $metadata } = error as Error & {
    readonly code?: unknown;
    readonly $fault?: unknown;
    readonly $metadata?: { readonly httpStatusCode?: number };
  };
  if (typeof code === "string" && neverLeft.has(code)) return true;
  if (/^Credentials(Provider|Refresh)Error$/.test(error.name)) return true;
  const status = $metadata?.httpStatusCode;
  return $fault === "client" && status !== undefined && status >= 400 && status < 500;
}
