import { type ErrorCode, type Issue, SluiceError } from "@sluice/core";

/** An answer that is no success. */
export interface Refusal {
  /** `GET https://host/subjects`, without secrets. */
  readonly what: string;
  readonly status: number;
  /** The registry's own number; 0 where the body is not the registry's. */
  readonly number: number;
  readonly messages: readonly string[];
  /** Where a redirect leads. */
  readonly location?: string | undefined;
}

const codes: Readonly<Record<number, ErrorCode>> = {
  401: "UNAUTHORIZED",
  403: "FORBIDDEN",
  408: "UNAVAILABLE",
  409: "MISMATCH",
  413: "TOO_LARGE",
  429: "UNAVAILABLE",
};
const help: Partial<Record<ErrorCode, string>> = {
  UNAUTHORIZED: `check option "auth"`,
  FORBIDDEN: "these credentials may not do it",
  MISMATCH: "the schema is not compatible with what is there; change it, or the subject's compatibility level",
  TOO_LARGE: "the schema is too large for the registry",
  UNAVAILABLE: "it was tried again; see whether the registry is up",
  UNSUPPORTED: "either there is no schema registry at this URL, or it does not know this call",
};

/** Whether asking again can help. */
export function isTransient(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

export function refusalError(refusal: Refusal): SluiceError {
  const { what, status, number, messages } = refusal;
  const code = codeOf(refusal);
  const said = messages.length > 0 ? `: ${messages.join("; ")}` : "";
  const shown = number === 0 || number === status ? `${status}` : `${status} (${number})`;
  const advice =
    refusal.location === undefined ? help[code] : `it redirects to ${refusal.location}: give that as "url"`;
  const issues = messages.map((message): Issue => ({ path: "", message }));
  const text = `registry: ${what} answered ${shown}${said}${advice === undefined ? "" : `; ${advice}`}`;
  return new SluiceError(code, text, { issues });
}

function codeOf({ status, number }: Refusal): ErrorCode {
  const code = codes[status];
  if (code) return code;
  // n.b. a proxy answers 404, too. Only the registry's own word is a reason to give up a message.
  if (status === 404) return number >= 40_401 && number <= 40_409 ? "NOT_FOUND" : "UNSUPPORTED";
  return status >= 500 ? "UNAVAILABLE" : "CONFIG";
}
