import { isSluiceError, SluiceError } from "@sluice/core";
import { scanJson } from "../json-scan.ts";
import { isTransient, refusalError } from "./answer-errors.ts";
import type { Settings } from "./options.ts";

/** One call of the registry's API. */
export interface Call {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Encoded, from the base address on: `/subjects/a-value/versions`. */
  readonly path: string;
  readonly body?: unknown;
}

interface Failure {
  readonly error: SluiceError;
  readonly again: boolean;
  /** What the registry asks us to wait. */
  readonly afterMs?: number;
}

const mediaType = "application/vnd.schemaregistry.v1+json";
/** An answer is a flat object or list; schemas stand in it as text. */
const answerLimits = { bytes: Infinity, depth: 32, elements: 200_000 };
const shownText = 1000;

/** HTTP with time limits, retries and bounded answers. */
export class Transport {
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /**
   * The answer's JSON.
   * @throws SluiceError `UNAVAILABLE` when nobody answered until the deadline or the last try, `UNKNOWN` for what is no answer of
   * a registry, or by status: `UNAUTHORIZED`, `FORBIDDEN`, `NOT_FOUND`, `MISMATCH`, `UNSUPPORTED`, `CONFIG`
   */
  async call(call: Call): Promise<unknown> {
    const { attempts, deadlineMs, runtime } = this.#settings;
    const deadline = runtime.monotonicMs() + deadlineMs;
    for (let attempt = 1; ; attempt++) {
      const result = await this.#try(call, Math.max(1, deadline - runtime.monotonicMs()));
      if ("value" in result) return result.value;
      const wait = Math.max(this.#delay(attempt), result.afterMs ?? 0);
      const late = runtime.monotonicMs() + wait >= deadline;
      if (!result.again || attempt >= attempts || late) throw result.error;
      await new Promise<void>((resolve) => void runtime.timer(wait, resolve));
    }
  }

  #delay(attempt: number): number {
    const { firstDelayMs, maxDelayMs, runtime } = this.#settings;
    return Math.min(maxDelayMs, firstDelayMs * 2 ** (attempt - 1)) * runtime.random();
  }

  async #try(call: Call, leftMs: number): Promise<{ readonly value: unknown } | Failure> {
    const { runtime, timeoutMs } = this.#settings;
    const limitMs = Math.min(timeoutMs, leftMs);
    const controller = new AbortController();
    const expired = Promise.withResolvers<Failure>();
    const cancel = runtime.timer(limitMs, () => {
      controller.abort();
      expired.resolve(this.#lost(call, `did not answer within ${Math.round(limitMs)} ms`));
    });
    try {
      // n.b. a `fetch` of the user's may not listen to the signal.
      return await Promise.race([this.#request(call, controller.signal), expired.promise]);
    } finally {
      cancel();
      // Whatever was not read of the answer is not wanted.
      controller.abort();
    }
  }

  async #request(call: Call, signal: AbortSignal): Promise<{ readonly value: unknown } | Failure> {
    try {
      const authorization = await this.#settings.credentials.authorization();
      const response = await this.#fetch(call, authorization, signal);
      const text = await this.#text(call, response);
      if (response.ok) return { value: this.#parse(call, text) };
      return this.#refused(call, response, text);
    } catch (error) {
      if (isSluiceError(error)) return { error, again: error.code === "UNAVAILABLE" };
      return this.#lost(call, `failed: ${reasonOf(error)}`, error);
    }
  }

  #fetch({ method, path, body }: Call, authorization: string | undefined, signal: AbortSignal): Promise<Response> {
    const { headers, url } = this.#settings;
    return this.#settings.fetch(`${url}${path}`, {
      method,
      signal,
      // A POST that follows a redirect becomes a GET, and credentials go to somebody else.
      redirect: "manual",
      headers: {
        accept: `${mediaType}, application/json`,
        "Confluent-Accept-Unknown-Properties": "true",
        ...headers,
        ...(authorization !== undefined && { authorization }),
        ...(body !== undefined && { "content-type": mediaType }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  }

  async #text(call: Call, response: Response): Promise<string> {
    const limit = this.#settings.maxAnswerBytes;
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of response.body ?? []) {
      length += chunk.byteLength;
      if (length > limit) throw this.#strange(call, `answered with more than ${limit} bytes`, "maxAnswerBytes");
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  }

  #parse(call: Call, text: string): unknown {
    try {
      scanJson(Buffer.from(text), answerLimits);
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw this.#strange(call, "answered with something that is not a registry's JSON", "url", cause);
    }
  }

  #refused(call: Call, response: Response, text: string): Failure {
    const { credentials } = this.#settings;
    const { message, number } = refusalIn(text);
    const location = response.status >= 300 && response.status < 400 ? addressOf(response) : undefined;
    const error = refusalError({
      what: this.#what(call),
      status: response.status,
      number,
      messages: message === "" ? [] : [credentials.redact(message).slice(0, shownText)],
      location: location === undefined ? undefined : credentials.redact(location),
    });
    const seconds = Number(response.headers.get("retry-after") ?? 0);
    const afterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
    return { error, again: isTransient(response.status), afterMs };
  }

  #lost(call: Call, how: string, cause?: unknown): Failure {
    const text = `registry: ${this.#what(call)} ${this.#settings.credentials.redact(how)}; see whether it is up`;
    return { error: new SluiceError("UNAVAILABLE", text, { cause }), again: true };
  }

  #strange(call: Call, how: string, option: "maxAnswerBytes" | "url", cause?: unknown): SluiceError {
    return new SluiceError("UNKNOWN", `registry: ${this.#what(call)} ${how}; check option "${option}"`, { cause });
  }

  #what({ method, path }: Call): string {
    return `${method} ${this.#settings.url}${path}`;
  }
}

function refusalIn(text: string): { readonly message: string; readonly number: number } {
  try {
    scanJson(Buffer.from(text), answerLimits);
    const answer = JSON.parse(text) as { readonly error_code?: unknown; readonly message?: unknown } | null;
    const number = Number.isInteger(answer?.error_code) ? Number(answer?.error_code) : 0;
    return { message: typeof answer?.message === "string" ? answer.message : "", number };
  } catch {
    return { message: "", number: 0 };
  }
}

/** Without query and user: a login page's address carries secrets there. */
function addressOf(response: Response): string | undefined {
  const location = response.headers.get("location");
  if (location === null || !URL.canParse(location, response.url || undefined)) return undefined;
  const { origin, pathname } = new URL(location, response.url || undefined);
  return `${origin}${pathname}`;
}

/** `fetch` says "fetch failed", and its cause says why. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const code = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
  return `${error.message}${cause instanceof Error ? `: ${cause.message || cause.name}${code}` : ""}`;
}
