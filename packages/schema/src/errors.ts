import { type Issue, SluiceError, type WireMessage } from "@sluice/core";

/** The words of every error about one message: `avro: message m-1 of topic "orders"`. */
export function whatOf(who: string, { id, topic }: WireMessage): string {
  return `${who}: message ${id} of topic "${topic}"`;
}

/** `INVALID_PAYLOAD` with its issues; the text shows the first three. */
export function invalid(what: string, issues: readonly Issue[], help?: string, cause?: unknown): SluiceError {
  const shown = issues.slice(0, 3).map(({ path, message }) => (path ? `${path}: ${message}` : message));
  const more = issues.length > shown.length ? ` (and ${issues.length - shown.length} more)` : "";
  const text = `${what}: ${shown.join("; ")}${more}${help === undefined ? "" : `; ${help}`}`;
  return new SluiceError("INVALID_PAYLOAD", text, cause === undefined ? { issues } : { issues, cause });
}

/** Of an option. */
export function config(text: string): SluiceError {
  return new SluiceError("CONFIG", `schema: ${text}`);
}

/** A name or an option in a message of an error: short, and never thrown by. Of payloads there is `kindOf`. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  return typeof value === "bigint" ? `${value}n` : String(value);
}

/** What a payload's value is. n.b. never the value: it would stand in logs and in the headers of dead letters. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return "text";
  if (typeof value !== "object") return `a ${typeof value}`;
  if (Array.isArray(value)) return "an array";
  if (value instanceof Uint8Array) return "bytes";
  return value instanceof Date ? "a Date" : "an object";
}

/** The message of whatever was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : show(error);
}
