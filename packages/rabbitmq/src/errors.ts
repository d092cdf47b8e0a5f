import { DriverError, type DriverErrorCode } from "@sluice/core/driver";

/** AMQP reply codes. Retryable = the same call can succeed later without anybody changing anything. */
const replyCodes: Readonly<Record<number, readonly [DriverErrorCode, retryable: boolean]>> = {
  311: ["TOO_LARGE", false],
  312: ["UNROUTABLE", false],
  313: ["UNROUTABLE", false],
  320: ["UNAVAILABLE", true], // the operator or a node stop closed the connection
  402: ["NOT_FOUND", false],
  403: ["FORBIDDEN", false],
  404: ["NOT_FOUND", false],
  405: ["BUSY", true], // an exclusive queue of a connection that the broker has not given up yet
  406: ["MISMATCH", false],
  501: ["INVALID_MESSAGE", false],
  502: ["INVALID_MESSAGE", false],
  503: ["UNKNOWN", false],
  504: ["LOST", true],
  505: ["UNKNOWN", false],
  506: ["UNAVAILABLE", true],
  530: ["FORBIDDEN", false],
  540: ["UNSUPPORTED", false],
  541: ["UNAVAILABLE", true], // also a quorum queue without a majority
};

/** What Node and OpenSSL call it. */
const systemCodes: Readonly<Record<string, readonly [DriverErrorCode, retryable: boolean]>> = {
  ECONNREFUSED: ["UNAVAILABLE", true],
  ECONNRESET: ["UNAVAILABLE", true],
  ECONNABORTED: ["UNAVAILABLE", true],
  EPIPE: ["UNAVAILABLE", true],
  ETIMEDOUT: ["UNAVAILABLE", true],
  EHOSTUNREACH: ["UNAVAILABLE", true],
  ENETUNREACH: ["UNAVAILABLE", true],
  EHOSTDOWN: ["UNAVAILABLE", true],
  ENOTFOUND: ["UNAVAILABLE", true],
  EAI_AGAIN: ["UNAVAILABLE", true],
  EPROTO: ["CONFIG", false],
  ERR_SSL_WRONG_VERSION_NUMBER: ["CONFIG", false],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: ["CONFIG", false],
  ERR_TLS_CERT_ALTNAME_INVALID: ["CONFIG", false],
  DEPTH_ZERO_SELF_SIGNED_CERT: ["CONFIG", false],
  SELF_SIGNED_CERT_IN_CHAIN: ["CONFIG", false],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ["CONFIG", false],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ["CONFIG", false],
  CERT_HAS_EXPIRED: ["CONFIG", false],
  ABORT_ERR: ["UNAVAILABLE", true],
};

/** Texts that say more than the number; the first match wins. amqplib gives no number for what it notices itself. */
const texts: readonly (readonly [pattern: RegExp, code: DriverErrorCode, retryable: boolean])[] = [
  [/Handshake terminated by server.*\b403\b/s, "UNAUTHORIZED", false],
  [/SASL mechanism/, "UNAUTHORIZED", false],
  // amqplib drops the broker's text here: no such vhost, no access to it, or too many connections.
  [/Expected ConnectionOpenOk/, "NOT_FOUND", false],
  [/exceeds maxFrameSize|Frame on channel != 0 during handshake|Invalid frame/, "CONFIG", false],
  [/vhost .*not found/s, "NOT_FOUND", false],
  // 404 and 541 also mean: a quorum queue without a majority, or whose node is just starting.
  [/due to timeout|home node|is stopped|not available|failed to perform operation/, "UNAVAILABLE", true],
  [/limit .*is reached|connection limit|is down/s, "UNAVAILABLE", true],
  [/access to vhost/, "FORBIDDEN", false],
  [/delivery acknowledgement.*timed out/s, "LOST", true],
  [/unknown delivery tag/, "LOST", true],
  [/message size .* larger/, "TOO_LARGE", false],
  [/invalid expiration|invalid message|user_id property/, "INVALID_MESSAGE", false],
  [/No channels left/, "UNSUPPORTED", false],
  [/message nacked/, "REFUSED", true],
  [/Heartbeat timeout|Unexpected close|Socket closed abruptly|connect ETIMEDOUT/, "UNAVAILABLE", true],
];

/** What amqplib says of a call on something that ended before. */
const closed = /Channel (closed|closing|ended)|Connection (closed|closing)/i;

/** What to do about it, at the end of the message. */
const advice: Partial<Record<DriverErrorCode, string>> = {
  UNAVAILABLE: "check that the broker runs and can be reached",
  UNAUTHORIZED: "check user and password",
  FORBIDDEN: "give the user the rights on it",
  NOT_FOUND: "create it, or connect with provision: 'create'",
  MISMATCH: "delete it or use the settings that it has",
  CONFIG: "check url and tls options",
  BUSY: "try again when its holder is gone",
  UNSUPPORTED: "use what this broker and its configuration allow",
};

/** Where the text says more than the code. */
const advices: readonly (readonly [pattern: RegExp, todo: string])[] = [
  [/^Expected ConnectionOpenOk/, "check that the vhost exists, and the user's right and connection limit there"],
  [/No channels left/, "subscribe several topics together, use fewer shards or another bus, or raise channel_max"],
];

interface NativeError {
  readonly code?: number | string;
  readonly message: string;
}

/** Translates what amqplib and the broker report. `doing` names the operation and its object: `cannot open queue "a.b"`. */
export function translate(error: unknown, doing: string): DriverError {
  if (error instanceof DriverError) return error;
  const native = toNative(error);
  const [code, retryable] = classify(native);
  const [, special] = advices.find(([pattern]) => pattern.test(native.message)) ?? [];
  const todo = special ?? advice[code];
  return new DriverError(code, `rabbitmq: ${doing}: ${native.message.trim()}${todo ? `; ${todo}` : ""}`, {
    retryable,
    cause: error,
  });
}

function classify({ code, message }: NativeError): readonly [DriverErrorCode, retryable: boolean] {
  for (const [pattern, found, retryable] of texts) if (pattern.test(message)) return [found, retryable];
  const known = typeof code === "number" ? replyCodes[code] : systemCodes[code ?? ""];
  // Before the connection is open amqplib reports a close frame as text only.
  const found = known ?? replyCodes[replyCodeIn(message) ?? -1];
  return found ?? (closed.test(message) ? ["LOST", true] : ["UNKNOWN", false]);
}

function replyCodeIn(message: string): number | undefined {
  const found = /replyCode: ?(\d{3})|\b(\d{3}) \([A-Z_-]+\)/.exec(message);
  return found ? Number(found[1] ?? found[2]) : undefined;
}

/** Several addresses tried by Node itself (IPv6, then IPv4) arrive as one error without a text. */
function toNative(error: unknown): NativeError {
  if (error instanceof AggregateError && error.errors.length > 0 && !error.message) return toNative(error.errors[0]);
  if (!(error instanceof Error)) return { message: String(error) };
  const code =
    "code" in error && (typeof error.code === "number" || typeof error.code === "string") ? error.code : undefined;
  return code === undefined ? { message: error.message } : { code, message: error.message };
}

/** Whether the broker says that a resource exists with other settings, and which. */
export function inequivalent(error: unknown): string | undefined {
  const message = error instanceof Error ? error.message : "";
  const found =
    /inequivalent arg '([^']+)'.*?received (?:(?:the value )?'(.*?)'(?: of type '\w+')?|none) but current is (?:(?:the value )?'(.*?)'(?: of type '\w+')?|none)/s.exec(
      message,
    );
  if (!found) return undefined;
  const [, name, wanted = "none", current = "none"] = found;
  return `${name} is ${current || "empty"}, wanted ${wanted || "empty"}`;
}

/** The AMQP reply code of a failed call, where there is one. */
export function replyCode(error: unknown): number | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "number" ? error.code : undefined;
}
