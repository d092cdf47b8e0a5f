import type { Driver } from "@sluice/core/driver";
import type { RedisOptions, RedisPubsubOptions } from "@sluice/redis";
import { load } from "../load.ts";
import { type ParameterKind, read } from "../parameters.ts";
import { only, type Parts, wrong } from "../parts.ts";
import { tlsOf, tlsParameters } from "../tls.ts";

const connectionParameters = {
  prefix: "text",
  cluster: "flag",
  sentinel: "text",
  answerMs: "number",
  ...tlsParameters,
} as const;

type ConnectionParameter = keyof typeof connectionParameters;

/** Options of the driver that a text can hold. */
type Written<Options> = Exclude<
  keyof Options,
  "url" | "cluster" | "sentinel" | "username" | "password" | "tls" | "natMap" | "client"
>;

const redisParameters = {
  ...connectionParameters,
  leaseMs: "number",
  retentionMs: "number",
  maxEntries: "number",
  maxAgeMs: "number",
  deduplicationMs: "number",
  maxMessageBytes: "number",
} as const satisfies Record<Written<RedisOptions> | ConnectionParameter, ParameterKind>;

const redisPubsubParameters = {
  ...connectionParameters,
  tls: "flag",
  sharded: "flag",
  format: ["cloudevents", "raw"],
  inbox: "number",
  inboxBytes: "number",
  overflow: ["oldest", "newest"],
} as const satisfies Record<Written<RedisPubsubOptions> | ConnectionParameter | "tls", ParameterKind>;

export async function redisDriver(parts: Parts): Promise<Driver> {
  const { cluster, sentinel, ca, cert, key, servername, ...values } = read(parts, redisParameters);
  const secure = parts.scheme === "rediss:";
  const connection = connectionOf(parts, { cluster, sentinel, secure, ca, cert, key, servername });
  const { redis } = await load(parts.scheme, "@sluice/redis", () => import("@sluice/redis"));
  return redis({ ...values, ...connection });
}

export async function redisPubsubDriver(parts: Parts): Promise<Driver> {
  const { cluster, sentinel, tls: secure, ca, cert, key, servername, ...values } = read(parts, redisPubsubParameters);
  const connection = connectionOf(parts, { cluster, sentinel, secure, ca, cert, key, servername });
  const { redisPubsub } = await load(parts.scheme, "@sluice/redis", () => import("@sluice/redis"));
  return redisPubsub({ ...values, ...connection });
}

type Connection = Pick<RedisOptions, "url" | "cluster" | "sentinel" | "username" | "password" | "tls">;

interface Given {
  readonly cluster: boolean | undefined;
  readonly sentinel: string | undefined;
  readonly secure: boolean | undefined;
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly servername: string | undefined;
}

/** The hosts are the server, nodes of a cluster, or sentinels; the path is the database. */
function connectionOf(parts: Parts, given: Given): Connection {
  const { scheme, hosts, username, password, path } = parts;
  only(parts, ["credentials", "hosts", "port", "path"], "use redis://user:password@host:port/database");
  const { cluster = false, sentinel, secure = false, ca, cert, key, servername } = given;
  if (!/^\d*$/.test(path)) throw wrong(scheme, `path "/${path}" is no database`, "use a whole number");
  const tls = tlsOf({ ca, cert, key, servername });
  if (tls && !secure)
    throw wrong(scheme, "a TLS parameter is given", "begin with rediss:, or give tls=true with redis+pubsub:");
  if (cluster && sentinel !== undefined) throw wrong(scheme, "cluster and sentinel are given", "leave one out");
  if (hosts.length > 1 && !cluster && sentinel === undefined) {
    throw wrong(scheme, "it has several hosts", "say cluster=true, or sentinel=NAME-OF-THE-MASTER");
  }
  const protocol = secure ? "rediss:" : "redis:";
  const named = hosts.length > 0 ? hosts : [{ name: "localhost", port: undefined }];
  const standard = sentinel === undefined ? 6379 : 26_379;
  const urls = named.map(({ name, port = standard }) => `${protocol}//${name}:${port}`);
  const [first] = urls;
  return {
    ...(cluster ? { cluster: urls } : { url: `${sentinel === undefined ? first : `${protocol}//localhost`}/${path}` }),
    ...(sentinel !== undefined && { sentinel: { urls, name: sentinel } }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls }),
  };
}
