import { type Duration, milliseconds, nodeRuntime, type Runtime, SluiceError } from "@sluice/core";
import { type Credentials, credentials, type RegistryAuth } from "./auth.ts";

export interface RegistryOptions {
  /** Base address, with the path of the Confluent-compatible API where it has one: `http://localhost:8080/apis/ccompat/v7`. User and password in it become basic authentication. */
  readonly url: string;
  /** @default none, or what stands in the URL */
  readonly auth?: RegistryAuth;
  /** Sent with each request, for example `target-sr-cluster` and `Confluent-Identity-Pool-Id`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** For one HTTP request. @default '5s' */
  readonly timeout?: Duration;
  /** For one call with its retries. @default '20s' */
  readonly deadline?: Duration;
  /** For 408, 429, 5xx and what the network does; full jitter, doubling. */
  readonly retry?: {
    /** Requests of a call in all. @default 3 */
    readonly attempts?: number;
    /** Also before a message's schema that was not found is asked for once more. @default '1s' */
    readonly firstDelay?: Duration;
    /** @default '20s' */
    readonly maxDelay?: Duration;
  };
  readonly cache?: {
    /** Most entries of each cache; what is immutable stays until it is pushed out. @default 1000 */
    readonly entries?: number;
    /** How long `latest` is believed. @default '60s' */
    readonly latest?: Duration;
    /** How long something that was not found is not asked for again. @default '5s' */
    readonly missing?: Duration;
  };
  /** Largest answer in bytes. @default 2 MiB */
  readonly maxAnswerBytes?: number;
  /** For TLS settings, proxies, agents: a function like the global one. @default globalThis.fetch */
  readonly fetch?: RegistryFetch;
  /** Clock, timers and randomness. @default nodeRuntime */
  readonly runtime?: Runtime;
}

/** What the client needs of `fetch`. */
export type RegistryFetch = (url: string, request: RequestInit) => Promise<Response>;

/** Options with defaults, checked. */
export interface Settings {
  readonly url: string;
  readonly credentials: Credentials;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  readonly attempts: number;
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
  readonly entries: number;
  readonly latestMs: number;
  readonly missingMs: number;
  readonly maxAnswerBytes: number;
  readonly fetch: RegistryFetch;
  readonly runtime: Runtime;
}

/** @throws SluiceError `CONFIG` */
export function settingsOf(options: RegistryOptions): Settings {
  const { retry = {}, cache = {}, runtime = nodeRuntime } = options;
  const url = baseUrl(options.url);
  const fromUrl = url.username === "" ? undefined : userInfo(url);
  url.username = "";
  url.password = "";
  return {
    url: url.href.replace(/\/+$/, ""),
    credentials: credentials(options.auth ?? fromUrl),
    headers: checkedHeaders(options.headers ?? {}),
    timeoutMs: positive(milliseconds(options.timeout ?? "5s", "registry.timeout"), "timeout"),
    deadlineMs: positive(milliseconds(options.deadline ?? "20s", "registry.deadline"), "deadline"),
    attempts: positive(retry.attempts ?? 3, "retry.attempts"),
    firstDelayMs: milliseconds(retry.firstDelay ?? "1s", "registry.retry.firstDelay"),
    maxDelayMs: milliseconds(retry.maxDelay ?? "20s", "registry.retry.maxDelay"),
    entries: positive(cache.entries ?? 1000, "cache.entries"),
    latestMs: milliseconds(cache.latest ?? "60s", "registry.cache.latest"),
    missingMs: milliseconds(cache.missing ?? "5s", "registry.cache.missing"),
    maxAnswerBytes: positive(options.maxAnswerBytes ?? 2 * 1024 * 1024, "maxAnswerBytes"),
    fetch: options.fetch ?? ((address, request) => fetch(address, request)),
    runtime,
  };
}

function baseUrl(text: string): URL {
  // n.b. the text may hold a password: it is never shown.
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "") return url;
  throw new SluiceError(
    "CONFIG",
    `registry: option "url" is no http(s) address without query; give "https://host/path"`,
  );
}

function userInfo(url: URL): RegistryAuth {
  return { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) };
}

function positive(value: number, name: string): number {
  if (Number.isFinite(value) && value >= 1) return value;
  throw new SluiceError("CONFIG", `registry: option "${name}" is ${value}; give a positive number`);
}

/** n.b. `fetch` would show the value in its error. */
function checkedHeaders(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(headers)) {
    if (/^[\w!#$%&'*+.^`|~-]+$/.test(name) && /^[\t\x20-\x7e]*$/.test(value)) continue;
    throw new SluiceError("CONFIG", `registry: option "headers" has ${JSON.stringify(name)}, which HTTP cannot carry`);
  }
  return headers;
}
