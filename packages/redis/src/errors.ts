import { DriverError, type DriverErrorCode } from "@sluice/core/driver";

type Row = readonly [code: DriverErrorCode, retryable: boolean];

/** First words of the server's error replies. */
const replies: Readonly<Record<string, Row>> = {
  WRONGPASS: ["UNAUTHORIZED", false],
  NOAUTH: ["UNAUTHORIZED", false],
  NOPERM: ["FORBIDDEN", false],
  DENIED: ["FORBIDDEN", false], // protected mode
  NOGROUP: ["NOT_FOUND", false],
  UNBLOCKED: ["LOST", true],
  WRONGTYPE: ["MISMATCH", false],
  BUSYGROUP: ["MISMATCH", false],
  BUSYKEY: ["MISMATCH", false],
  OOM: ["REFUSED", true], // maxmemory reached, nothing may be evicted
  MISCONF: ["REFUSED", true], // writes are refused while the disk fails
  NOREPLICAS: ["UNAVAILABLE", true],
  LOADING: ["UNAVAILABLE", true],
  MASTERDOWN: ["UNAVAILABLE", true],
  READONLY: ["UNAVAILABLE", true], // a replica now: the master is elsewhere
  TRYAGAIN: ["UNAVAILABLE", true],
  CLUSTERDOWN: ["UNAVAILABLE", true],
  MOVED: ["UNAVAILABLE", true],
  ASK: ["UNAVAILABLE", true],
  BUSY: ["UNAVAILABLE", true], // somebody's script runs
  CROSSSLOT: ["CONFIG", false],
  NOPROTO: ["UNSUPPORTED", false],
  EXECABORT: ["REFUSED", true],
};

/** What Node and OpenSSL call it. */
const systemCodes: Readonly<Record<string, Row>> = {
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
  ENOENT: ["UNAVAILABLE", true], // a Unix socket that is not there
  EPROTO: ["CONFIG", false],
  ERR_SSL_WRONG_VERSION_NUMBER: ["CONFIG", false],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: ["CONFIG", false],
  ERR_TLS_CERT_ALTNAME_INVALID: ["CONFIG", false],
  DEPTH_ZERO_SELF_SIGNED_CERT: ["CONFIG", false],
  SELF_SIGNED_CERT_IN_CHAIN: ["CONFIG", false],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ["CONFIG", false],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ["CONFIG", false],
  CERT_HAS_EXPIRED: ["CONFIG", false],
};

/** Texts that say more than the first word; the first match wins. */
const texts: readonly (readonly [pattern: RegExp, code: DriverErrorCode, retryable: boolean])[] = [
  // n.b. inside a script the server says it in other words.
  [/can't run this command|can't access at least one|no permissions to/i, "FORBIDDEN", false],
  [/max number of clients/, "UNAVAILABLE", true],
  [/unknown command|syntax error|Unknown subcommand/i, "UNSUPPORTED", false],
  [/DB index is out of range|invalid DB index|SELECT is not allowed in cluster/i, "CONFIG", false],
  [/without any password configured|AUTH failed/i, "UNAUTHORIZED", false],
  [/OOM command not allowed/, "REFUSED", true],
  [/invalid bulk length|invalid multibulk|too big|string exceeds maximum/i, "TOO_LARGE", false],
  [/Too many Cluster redirections|Failed to refresh slots|None of startup nodes/, "UNAVAILABLE", true],
  [/All sentinels are unreachable|No sentinels available|got (?:null|undefined) address/i, "UNAVAILABLE", true],
  [/as reply type byte|Unknown RESP type|Protocol error|Unexpected reply/i, "CONFIG", false],
  [/Command timed out|Socket timeout|connect ETIMEDOUT|max retries per request/i, "UNAVAILABLE", true],
  [/Connection is closed|isn't writeable|Connection is in the closing state/, "LOST", true],
  [/READONLY|LOADING/, "UNAVAILABLE", true],
];

/** What to do about it, at the end of the message. */
const advice: Partial<Record<DriverErrorCode, string>> = {
  UNAVAILABLE: "check that the server runs and can be reached",
  UNAUTHORIZED: "check user and password",
  FORBIDDEN: "give the user the rights on it",
  NOT_FOUND: "create it, or connect with provision: 'create'",
  MISMATCH: "delete it, or use another name or prefix",
  CONFIG: "check url, database and tls options",
  REFUSED: "free memory or disk of the server",
};

interface NativeError {
  readonly code?: string;
  readonly message: string;
}

/** Translates what ioredis and the server report. `doing` names the operation and its object: `cannot read "orders"`. */
export function translate(error: unknown, doing: string, who = "redis"): DriverError {
  if (error instanceof DriverError) return error;
  hideArguments(error);
  const native = toNative(error);
  const [code, retryable] = classify(native);
  const todo = advice[code];
  return new DriverError(code, `${who}: ${doing}: ${native.message.trim()}${todo ? `; ${todo}` : ""}`, {
    retryable,
    cause: error,
  });
}

/** n.b. ioredis puts the whole command on its errors: passwords of AUTH, bodies of messages. A cause ends up in logs. */
function hideArguments(error: unknown): void {
  if (!(error instanceof Error) || !("command" in error)) return;
  const { command } = error;
  const name = typeof command === "object" && command !== null && "name" in command ? command.name : undefined;
  error.command = { name };
}

function classify({ code, message }: NativeError): Row {
  // An error inside a script arrives with the script's words around it on 7.0 and later.
  const word = /^(?:ERR Error running script.*?: )?-?([A-Z]+)\b/.exec(message)?.[1] ?? "";
  const reply = replies[word] ?? systemCodes[code ?? ""];
  if (reply) return reply;
  for (const [pattern, found, retryable] of texts) if (pattern.test(message)) return [found, retryable];
  return ["UNKNOWN", false];
}

/** n.b. a closed client says "Connection is closed."; why is in the error event before it, or in what it was caused by. */
function toNative(error: unknown): NativeError {
  if (error instanceof AggregateError && error.errors.length > 0 && !error.message) return toNative(error.errors[0]);
  if (!(error instanceof Error)) return { message: String(error) };
  const last: unknown =
    "lastNodeError" in error ? error.lastNodeError : "previousErrors" in error ? undefined : error.cause;
  if (last instanceof Error && /closed|refresh slots/.test(error.message)) return toNative(last);
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  return code === undefined ? { message: error.message } : { code, message: error.message };
}

/** Whether a script has to be sent in full: the server forgot it, or never had it. */
export function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOSCRIPT");
}
