import {
  type Context,
  type DeliveryMiddleware,
  isSluiceError,
  type Logger,
  nodeRuntime,
  SluiceError,
} from "@sluice/core";
import type { Outcome, Runtime } from "@sluice/core";
import { checkChoice, shown } from "./options.ts";

/** A method of the logger. */
export type LogLevel = keyof Logger;

export interface LogOptions {
  /** @default the bus's own */
  readonly logger?: Logger;
  /** Of messages that were done, dropped or deferred. @default 'info' */
  readonly level?: LogLevel;
  /** Of messages that failed, or that the handler wants to have retried or dead-lettered. @default 'warn' */
  readonly failureLevel?: LogLevel;
  /** Which headers are in the line. @default correlation-id, causation-id, traceparent */
  readonly headers?: readonly string[] | "all";
  /**
   * Headers whose values are hidden as `[redacted]`, beside those that everybody hides: authorization, cookie, and names with
   * token, secret, password, credential, signature or api-key in them. Letter case does not matter in names.
   * @default none
   */
  readonly redact?: readonly (string | RegExp)[];
  /** Clock. @default the process's own */
  readonly runtime?: Runtime;
}

/** What is in the line beside its text. */
export interface LogLine {
  readonly topic: string;
  readonly group: string;
  readonly messageId: string;
  readonly attempt: number;
  /** What the handling came to here; `failed`: it threw, and core decides between retry and dead letter. */
  readonly outcome: "done" | "retry" | "defer" | "dead-letter" | "drop" | "failed";
  /** All attempts in this process, and the waits between them. */
  readonly durationMs: number;
  /** Code of a SluiceError, or another error's own; else its name. Never its message, which may quote the payload. */
  readonly error: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

const usual = ["correlation-id", "causation-id", "traceparent"];
const secret = /authorization|cookie|token|secret|password|credential|signature|api-?key/i;

/** n.b. A call of any other one throws, and its line would be lost without a word. */
const levels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** Characters of a header's value, id or error code that are shown. */
const mostCharacters = 256;

/**
 * One line per delivery, when its handling has ended: topic, group, id, attempt, outcome, duration, error code and chosen headers; no
 * payload, no error text. A logger that throws changes nothing. Put it first, so that it sees what the others come to.
 *
 * @throws SluiceError `CONFIG` for a level that loggers do not have, or lists that are none
 */
export function log(options: LogOptions = {}): DeliveryMiddleware {
  const { level = "info", failureLevel = "warn", headers = usual, redact = [], runtime = nodeRuntime } = options;
  for (const [name, value] of Object.entries({ level, failureLevel })) checkChoice(`log: ${name}`, value, levels);
  if (headers !== "all") checkList("headers", headers);
  checkList("redact", redact);
  const hidden = redact.map((each) => (typeof each === "string" ? each.toLowerCase() : each));
  const hides = (name: string): boolean =>
    secret.test(name) ||
    hidden.some((each) => (typeof each === "string" ? each === name.toLowerCase() : matches(each, name)));

  function write(context: Context, startedMs: number, returned: void | Outcome, error: string | undefined): void {
    try {
      const { topic, id, attempt } = context.message;
      const outcome = error === undefined ? (returned?.kind ?? "done") : "failed";
      const line: LogLine = {
        topic,
        group: context.group,
        messageId: cut(id),
        attempt,
        outcome,
        durationMs: Math.round((runtime.monotonicMs() - startedMs) * 10) / 10,
        error,
        headers: visible(context.message.headers, headers, hides),
      };
      const well = outcome === "done" || outcome === "drop" || outcome === "defer";
      (options.logger ?? context.log)[well ? level : failureLevel](line, `${topic} ${outcome}`);
    } catch {
      // A line that cannot be written must not take a message with it.
    }
  }

  return async function log(context, next) {
    const startedMs = runtime.monotonicMs();
    try {
      const outcome = await next();
      write(context, startedMs, outcome, undefined);
      return outcome;
    } catch (error) {
      write(context, startedMs, undefined, codeOf(error));
      throw error;
    }
  };
}

function checkList(name: string, given: unknown): void {
  if (Array.isArray(given)) return;
  throw new SluiceError("CONFIG", `log: ${name} is ${shown(given)}; give a list of names`);
}

/** n.b. A pattern with the flag `g` remembers where it was. */
function matches(pattern: RegExp, name: string): boolean {
  pattern.lastIndex = 0;
  return pattern.test(name);
}

function visible(
  headers: Readonly<Record<string, string>>,
  wanted: readonly string[] | "all",
  hides: (name: string) => boolean,
): Record<string, string> {
  const names = wanted === "all" ? Object.keys(headers) : wanted.filter((name) => headers[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, hides(name) ? "[redacted]" : cut(headers[name] ?? "")]));
}

function codeOf(error: unknown): string {
  if (isSluiceError(error)) return error.code;
  if (!(error instanceof Error)) return `thrown ${typeof error}`;
  const { code } = error as Error & { readonly code?: unknown };
  return cut(typeof code === "string" && code !== "" ? code : error.name);
}

function cut(text: string): string {
  return text.length > mostCharacters ? `${text.slice(0, mostCharacters)}…` : text;
}
