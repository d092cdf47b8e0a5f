import type { Cluster, Redis } from "ioredis";
import { DriverError } from "@sluice/core/driver";
import { type ConnectionSettings, connectionSettings, type RedisConnectionOptions } from "../options.ts";

/** What `redisPubsub()` takes. A plain object, so that it can come from a configuration file. */
export interface RedisPubsubOptions extends RedisConnectionOptions {
  /** Sharded channels: a message goes to the nodes of one shard instead of all. @default true with `cluster`, else false */
  readonly sharded?: boolean;
  /** `cloudevents`: structured JSON, with id, key, time and headers. `raw`: the payload alone, and nothing else. @default "cloudevents" */
  readonly format?: "cloudevents" | "raw";
  /** Messages that wait in this process while handlers are busy; nobody can ask the server to wait. @default 10000 */
  readonly inbox?: number;
  /** Bytes of all that wait; one message is kept, whatever its size. @default 67108864 */
  readonly inboxBytes?: number;
  /** Which are dropped when the inbox is full: those that wait longest, or those that come. @default "oldest" */
  readonly overflow?: "oldest" | "newest";
}

/** `context.native`: channel and message as they came. */
export interface RedisPubsubMessage {
  readonly channel: string;
  readonly message: Buffer;
}

/** `bus.native`: the connection that publishes. Never close it. */
export type RedisPubsubClient = Redis | Cluster;

export interface PubsubSettings extends ConnectionSettings {
  readonly clustered: boolean;
  readonly sharded: boolean;
  readonly format: "cloudevents" | "raw";
  readonly inbox: number;
  readonly inboxBytes: number;
  readonly overflow: "oldest" | "newest";
}

/** Checks the options and fills in the defaults. @throws DriverError CONFIG */
export function pubsubSettings(options: RedisPubsubOptions): PubsubSettings {
  const connection = connectionSettings(options, "redis-pubsub");
  const { inbox = 10_000, inboxBytes = 67_108_864, format = "cloudevents", overflow = "oldest" } = options;
  for (const [name, value] of Object.entries({ inbox, inboxBytes })) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new DriverError("CONFIG", `redis-pubsub: ${name} is ${value}; use a whole number, 1 or more`);
  }
  const clustered = connection.cluster.length > 0 || (connection.client !== undefined && "nodes" in connection.client);
  return { ...connection, clustered, sharded: options.sharded ?? clustered, format, inbox, inboxBytes, overflow };
}
