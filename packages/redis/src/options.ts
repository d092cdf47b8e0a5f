import type { Cluster, Redis, RedisOptions as ClientOptions } from "ioredis";
import { DriverError } from "@sluice/core/driver";

/** Where the server is, and how to get in. The same for `redis()` and `redisPubsub()`. */
export interface RedisConnectionOptions {
  /** `redis://user:password@host:port/database`, or `rediss://` for TLS. @default $REDIS_URL, then "redis://localhost:6379" */
  readonly url?: string;
  /** Some nodes of a Redis Cluster, as urls; the others are found. Instead of `url`. */
  readonly cluster?: readonly string[];
  /** Sentinels that know the master: their urls, and the master's name. User, password and database are those of `url`. */
  readonly sentinel?: { readonly urls: readonly string[]; readonly name: string };
  /** User name, instead of the one in the url. */
  readonly username?: string;
  /** Password, instead of the one in the url. */
  readonly password?: string;
  /** For `rediss`: what `node:tls` takes (`ca`, `cert`, `key`, `servername`, …). */
  readonly tls?: NonNullable<ClientOptions["tls"]>;
  /** Where cluster nodes that announce an inner address are reached: `{ "10.0.0.1:6379": { host, port } }`. */
  readonly natMap?: Readonly<Record<string, { readonly host: string; readonly port: number }>>;
  /** A client of yours, whose options are used; the driver opens connections of its own and never closes yours. */
  readonly client?: Redis | Cluster;
  /** Put before every key or channel. @default "" */
  readonly prefix?: string;
  /** Milliseconds without an answer after which a connection is given up. @default 10000 */
  readonly answerMs?: number;
}

/** What `redis()` takes. A plain object, so that it can come from a configuration file. */
export interface RedisOptions extends RedisConnectionOptions {
  /** Milliseconds after which an unsettled message of a dead instance comes again. Renewed while a handler runs. @default 30000 */
  readonly leaseMs?: number;
  /** Milliseconds for which an entry stays after every group has settled it: for broadcasts that reconnect and new groups. @default 60000 */
  readonly retentionMs?: number;
  /** Entries that a topic's stream may have. Deletes the oldest, READ OR NOT. @default none: unread entries are never deleted */
  readonly maxEntries?: number;
  /** Milliseconds after which an entry is deleted, READ OR NOT. @default none */
  readonly maxAgeMs?: number;
  /** Milliseconds for which a write is remembered, so that a repeated one is stored once. 0 = not at all. @default 120000 */
  readonly deduplicationMs?: number;
  /** Body bytes of one message; the server's own limit is `proto-max-bulk-len`. @default 16777216 */
  readonly maxMessageBytes?: number;
}

/** `context.native`: the entry as the server has it. */
export interface RedisMessage {
  /** Key of the stream. */
  readonly stream: string;
  /** Entry id: `1700000000000-0`. */
  readonly id: string;
  readonly fields: readonly (readonly [name: string, value: Buffer])[];
}

/** `bus.native`: the connection for commands. Never block on it, and never close it. */
export type RedisClient = Redis | Cluster;

/** One address, taken apart once, so that no url (and no password) reaches an error message. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
}

/** The connection's options with every default in place. */
export interface ConnectionSettings {
  readonly endpoint: Endpoint;
  readonly cluster: readonly Endpoint[];
  readonly sentinel: { readonly endpoints: readonly Endpoint[]; readonly name: string } | undefined;
  readonly tls: NonNullable<ClientOptions["tls"]> | undefined;
  readonly natMap: Record<string, { host: string; port: number }> | undefined;
  readonly client: Redis | Cluster | undefined;
  readonly prefix: string;
  readonly answerMs: number;
}

/** The options with every default in place. */
export interface Settings extends ConnectionSettings {
  readonly leaseMs: number;
  readonly retentionMs: number;
  readonly maxEntries: number | undefined;
  readonly maxAgeMs: number | undefined;
  readonly deduplicationMs: number;
  readonly maxMessageBytes: number;
}

/** Checks the options and fills in the defaults. @throws DriverError CONFIG */
export function settings(options: RedisOptions): Settings {
  return {
    ...connectionSettings(options, "redis"),
    // Below half a second renewals would cost more than the work.
    leaseMs: range("leaseMs", options.leaseMs ?? 30_000, 500, 86_400_000),
    retentionMs: range("retentionMs", options.retentionMs ?? 60_000, 0, Number.MAX_SAFE_INTEGER),
    maxEntries: optional("maxEntries", options.maxEntries),
    maxAgeMs: optional("maxAgeMs", options.maxAgeMs),
    deduplicationMs: range("deduplicationMs", options.deduplicationMs ?? 120_000, 0, 86_400_000),
    maxMessageBytes: range("maxMessageBytes", options.maxMessageBytes ?? 16_777_216, 1, 536_000_000),
  };
}

/** The same for what both drivers take. `who`: the driver's name, for errors. @throws DriverError CONFIG */
export function connectionSettings(options: RedisConnectionOptions, who: string): ConnectionSettings {
  // A url beside sentinels has user, password and database.
  const ways = [options.url ?? options.sentinel, options.cluster, options.client].filter((way) => way !== undefined);
  if (ways.length > 1) {
    throw wrong(who, "more than one of url (or sentinel), cluster and client is given", "give one of them");
  }
  if (options.cluster?.length === 0) throw wrong(who, "cluster is empty", "name at least one node");
  if (options.sentinel?.urls.length === 0) throw wrong(who, "sentinel has no urls", "name at least one sentinel");
  const prefixOfClient = options.client?.options.keyPrefix;
  // n.b. it would be put before keys, but not before channels, and replies carry it: names would not fit.
  if (prefixOfClient) throw wrong(who, `the client has keyPrefix "${prefixOfClient}"`, "use the option prefix instead");
  const url = options.url ?? process.env["REDIS_URL"] ?? "redis://localhost:6379";
  const all = (urls: readonly string[]) => urls.map((each) => endpoint(each, options, who));
  return {
    endpoint: endpoint(url, options, who),
    cluster: all(options.cluster ?? []),
    sentinel: options.sentinel && { endpoints: all(options.sentinel.urls), name: options.sentinel.name },
    tls: options.tls,
    natMap: options.natMap && { ...options.natMap },
    client: options.client,
    prefix: options.prefix ?? "",
    answerMs: range("answerMs", options.answerMs ?? 10_000, 100, 600_000),
  };
}

function endpoint(url: string, options: RedisConnectionOptions, who: string): Endpoint {
  // n.b. the error of `new URL` carries the whole url, password included: it must not become a cause.
  const parts = URL.parse(url);
  if (!parts) throw wrong(who, "url cannot be parsed", "use redis://user:password@host:port/database");
  if (parts.protocol !== "redis:" && parts.protocol !== "rediss:") {
    throw wrong(who, `url begins with "${parts.protocol}"`, "use redis: or rediss:");
  }
  const database = parts.pathname.length > 1 ? Number(parts.pathname.slice(1)) : 0;
  if (!Number.isInteger(database) || database < 0) {
    throw wrong(who, `url names database "${parts.pathname.slice(1)}"`, "use a whole number");
  }
  return {
    host: parts.hostname.replace(/^\[|\]$/g, "") || "localhost",
    port: Number(parts.port) || 6379,
    tls: parts.protocol === "rediss:",
    username: options.username ?? (decode(parts.username, who) || undefined),
    password: options.password ?? (decode(parts.password, who) || undefined),
    database,
  };
}

function decode(part: string, who: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw wrong(who, "url has a broken percent-encoding", "encode user and password with encodeURIComponent");
  }
}

function optional(name: string, value: number | undefined): number | undefined {
  return value === undefined ? undefined : range(name, value, 1, Number.MAX_SAFE_INTEGER);
}

function range(name: string, value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw wrong("redis", `${name} is ${value}`, `use a whole number from ${low} to ${high}`);
}

function wrong(who: string, what: string, todo: string): DriverError {
  return new DriverError("CONFIG", `${who}: ${what}; ${todo}`);
}
