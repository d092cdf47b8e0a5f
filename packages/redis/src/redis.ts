import { Cluster } from "ioredis";
import type { Connection, Driver } from "@sluice/core/driver";
import { capabilities, type RedisCapabilities } from "./capabilities.ts";
import { Link } from "./client.ts";
import { RedisConnection } from "./connection.ts";
import { names as makeNames } from "./names.ts";
import { type RedisClient, type RedisMessage, type RedisOptions, settings as makeSettings } from "./options.ts";
import { askServer, checkVersion } from "./server.ts";
import type { Memory } from "./sources.ts";
import { topology } from "./topology.ts";

/**
 * Sluice on Redis Streams, Redis 7.0 and newer or Valkey: `connect(redis({ url: 'redis://localhost' }))`.
 *
 * @throws DriverError CONFIG when an option is wrong.
 */
export function redis(options: RedisOptions = {}): Driver<RedisCapabilities, RedisMessage, RedisClient> {
  const settings = makeSettings(options);
  const names = makeNames(settings.prefix);
  let memory: Memory | undefined;
  return {
    name: "redis",
    system: "redis",
    capabilities,
    topology: (declaration) => topology(declaration, names),
    async connect(context): Promise<Connection> {
      const { runtime, clientName, signal } = context;
      memory ??= { orphans: new Map(), positions: new Map(), before: new Set(), instance: runtime.id(), consumers: 0 };
      const open = (name: string) =>
        Link.open({ settings, runtime, who: "redis", name: `${clientName} ${name}`, signal });
      const commands = await open("commands");
      try {
        const server = await askServer(commands, runtime);
        checkVersion(server, "redis");
        const sends = await open("sends");
        const clustered = commands.native instanceof Cluster;
        return new RedisConnection({ context, settings, names, commands, sends, server, memory, clustered });
      } catch (error) {
        commands.destroy();
        throw error;
      }
    },
  };
}
