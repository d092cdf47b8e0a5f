import { DriverError, type DriverErrorCode } from "@sluice/core/driver";

/** gRPC's status codes, as numbers on the wire. */
export const status = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

type Row = readonly [code: DriverErrorCode, retryable: boolean];

const table: Readonly<Record<number, Row>> = {
  // Also what a proxy or the service itself sends when it lets go of a call.
  [status.cancelled]: ["UNAVAILABLE", true],
  [status.unknown]: ["UNKNOWN", true],
  [status.invalidArgument]: ["INVALID_MESSAGE", false],
  [status.deadlineExceeded]: ["UNAVAILABLE", true],
  [status.notFound]: ["NOT_FOUND", false],
  [status.alreadyExists]: ["MISMATCH", false],
  [status.permissionDenied]: ["FORBIDDEN", false],
  [status.resourceExhausted]: ["REFUSED", true],
  [status.failedPrecondition]: ["MISMATCH", false],
  [status.aborted]: ["UNAVAILABLE", true],
  [status.outOfRange]: ["CONFIG", false],
  [status.unimplemented]: ["UNSUPPORTED", false],
  [status.internal]: ["UNAVAILABLE", true],
  [status.unavailable]: ["UNAVAILABLE", true],
  [status.dataLoss]: ["UNKNOWN", false],
  [status.unauthenticated]: ["UNAUTHORIZED", false],
};

const advice: Readonly<Partial<Record<DriverErrorCode, string>>> = {
  UNAVAILABLE: "check that the endpoint is reachable",
  UNAUTHORIZED: "check the credentials",
  FORBIDDEN: "give the service account the permission; plan() lists them",
  NOT_FOUND: "create it, or connect with provision: 'create'",
  REFUSED: "raise the quota, or send less",
};

const noToken = "the credentials could not be renewed";

/** Texts for which the status alone says too little. */
const texts: readonly (readonly [pattern: RegExp, row: Row])[] = [
  [/too large|exceeds? the maximum|request payload size/i, ["TOO_LARGE", false]],
  // What google-auth-library throws before anything is sent.
  [
    /could not load the default credentials|invalid_grant|invalid_client|unable to detect a project id/i,
    ["UNAUTHORIZED", false],
  ],
  [new RegExp(noToken), ["UNAUTHORIZED", true]],
];

/**
 * There is no token to send a call with. n.b. gRPC keeps nothing of an error but its text and a code that is one of its own: with
 * another one, such as an HTTP status, nobody could tell that nothing was sent.
 */
export function notRenewed(error: unknown): Error {
  return Object.assign(new Error(`${noToken}: ${detailsOf(error)}`, { cause: error }), {
    code: status.unauthenticated,
  });
}

/** Translates what gRPC and the credentials report. `doing` names the operation and its object: `cannot pull from "a~b"`. */
export function translate(error: unknown, doing: string): DriverError {
  if (error instanceof DriverError) return error;
  const message = detailsOf(error);
  const code = statusOf(error);
  const found = texts.find(([pattern]) => pattern.test(message))?.[1];
  const [driverCode, retryable] =
    found ?? (code === undefined ? undefined : table[code]) ?? (["UNKNOWN", false] as const);
  const todo = advice[driverCode];
  return new DriverError(driverCode, `google-pubsub: ${doing}: ${message}${todo ? `; ${todo}` : ""}`, {
    retryable,
    cause: error,
  });
}

/** The gRPC status of a failed call, also through the cause of a DriverError. */
export function statusOf(error: unknown): number | undefined {
  if (error instanceof DriverError) return statusOf(error.cause);
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "number") return undefined;
  return error.code >= 0 && error.code <= 16 ? error.code : undefined;
}

function detailsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ("details" in error && typeof error.details === "string" && error.details !== "") return error.details.trim();
  return error.message.trim();
}

/** Whether a broken stream may simply be opened again: nothing that was handed out is lost by it. */
export function isPassing(code: number): boolean {
  return code === status.ok || table[code]?.[1] === true;
}
