import { DriverError } from "@sluice/core/driver";
import type { ConnectionOptions as TlsOptions } from "node:tls";
import { Names } from "./names.ts";

/** How to log in. `token` is asked for before every (re)authentication. */
export type KafkaSasl =
  | {
      readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512";
      readonly username: string;
      readonly password: string;
    }
  | { readonly mechanism: "OAUTHBEARER"; readonly token: () => Promise<string> };

/** `gzip` is built in, `zstd` needs Node 22.15 or newer, `snappy` and `lz4` the packages snappyjs and lz4js. */
export type Compression = "none" | "gzip" | "snappy" | "lz4" | "zstd";

const compressions: readonly string[] = ["none", "gzip", "snappy", "lz4", "zstd"] satisfies Compression[];

export interface KafkaOptions {
  /** Bootstrap addresses, `host:port`. */
  readonly brokers: readonly string[];
  /** Shown in the broker's logs and quotas. @default the bus' clientName */
  readonly clientId?: string;
  /** TLS: true, or Node's TLS options (ca, cert, key, servername, …). @default false */
  readonly ssl?: boolean | TlsOptions;
  /** @default none */
  readonly sasl?: KafkaSasl;
  /** Put before the name of every topic and group on the broker, so that several environments share one. @default '' */
  readonly prefix?: string;
  /**
   * One Kafka group for all topics of a group (`billing`) instead of one for each topic (`billing.orders`). Only so can a
   * subscription to very many topics read them with few consumers; the price is that all topics of the group rebalance
   * together. Every process of a group must say the same: the two kinds do not share work, nor positions. @default false
   */
  readonly sharedGroups?: boolean;
  /** Of what is sent. Everything that has its codec is read in any case. @default 'none' */
  readonly compression?: Compression;
  /** Of topics that provisioning creates; −1 = the broker's default. @default -1 */
  readonly replicationFactor?: number;
  /** Milliseconds without heartbeat after which the broker gives our partitions to others (broker bounds: 6 s to 30 min). @default 30000 */
  readonly sessionTimeout?: number;
  /** Milliseconds that members have to rejoin in a rebalance. @default 60000 */
  readonly rebalanceTimeout?: number;
  /** Milliseconds between heartbeats; also how fast a member learns of a rebalance. At most a third of sessionTimeout. @default 1000 */
  readonly heartbeatInterval?: number;
  /** Longest wait of an idle fetch, milliseconds; a paused partition resumes within it. At most a third of sessionTimeout. @default 250 */
  readonly fetchWait?: number;
  /** Bytes of one fetch per partition, before decompression (one batch is returned even if larger). @default 1048576 */
  readonly fetchBytes?: number;
  /** Milliseconds until a request without answer fails. @default 30000 */
  readonly requestTimeout?: number;
  /** Milliseconds for TCP and TLS, and again for the login. Connecting fails after 9.5 s in any case. @default 9000 */
  readonly connectionTimeout?: number;
  /** Milliseconds after which metadata (leaders, partition counts) is read again. @default 60000 */
  readonly metadataMaxAge?: number;
}

/** Every option with its default in place. */
export interface KafkaConfig {
  readonly brokers: readonly string[];
  readonly clientId: string | undefined;
  readonly ssl: boolean | TlsOptions;
  readonly sasl: KafkaSasl | undefined;
  readonly names: Names;
  readonly compression: Compression;
  readonly replicationFactor: number;
  readonly sessionTimeout: number;
  readonly rebalanceTimeout: number;
  readonly heartbeatInterval: number;
  readonly fetchWait: number;
  readonly fetchBytes: number;
  readonly requestTimeout: number;
  readonly connectionTimeout: number;
  readonly metadataMaxAge: number;
}

/** @throws DriverError `CONFIG` for an option that cannot work */
export function normalize(options: KafkaOptions): KafkaConfig {
  const {
    brokers,
    clientId,
    ssl = false,
    sasl,
    prefix = "",
    sharedGroups = false,
    compression = "none",
    replicationFactor = -1,
    sessionTimeout = 30_000,
    rebalanceTimeout = 60_000,
    heartbeatInterval = Math.min(1_000, Math.floor(sessionTimeout / 3)),
    fetchWait = 250,
    fetchBytes = 1_048_576,
    requestTimeout = 30_000,
    connectionTimeout = 9_000,
    metadataMaxAge = 60_000,
  } = options;
  check(Array.isArray(brokers) && brokers.length > 0, `brokers is empty; give at least one "host:port"`);
  for (const broker of brokers) {
    const port = Number(/^.+:(\d{1,5})$/.exec(broker)?.[1]);
    check(port > 0 && port < 65_536, `broker "${broker}" is no address; give "host:port"`);
  }
  check(
    /^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99})?$/.test(prefix),
    `prefix "${prefix}" is not legal; use up to 100 letters, digits, ".", "_", "-", beginning with a letter or digit`,
  );
  check(
    compressions.includes(compression),
    `compression "${compression}" is none that Kafka knows; use one of ${compressions.join(", ")}`,
  );
  const third = Math.floor(sessionTimeout / 3);
  check(
    heartbeatInterval <= third,
    `heartbeatInterval ${heartbeatInterval} is above a third of sessionTimeout ${sessionTimeout}; lower it`,
  );
  // n.b. a consumer with nothing to fetch sleeps that long, and sends no heartbeat meanwhile.
  check(fetchWait <= third, `fetchWait ${fetchWait} is above a third of sessionTimeout ${sessionTimeout}; lower it`);
  return {
    brokers: [...brokers],
    clientId,
    ssl,
    sasl,
    names: new Names(prefix, sharedGroups),
    compression,
    replicationFactor,
    sessionTimeout,
    rebalanceTimeout,
    heartbeatInterval,
    fetchWait,
    fetchBytes,
    requestTimeout,
    connectionTimeout,
    metadataMaxAge,
  };
}

function check(condition: boolean, problem: string): asserts condition {
  if (!condition) throw new DriverError("CONFIG", `kafka: ${problem}`);
}
