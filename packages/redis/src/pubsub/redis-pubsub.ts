import type { Connection, Driver } from "@sluice/core/driver";
import { Link } from "../client.ts";
import { askServer, checkVersion } from "../server.ts";
import { pubsubCapabilities, type RedisPubsubCapabilities } from "./capabilities.ts";
import { PubsubConnection } from "./connection.ts";
import { pubsubSettings, type RedisPubsubClient, type RedisPubsubMessage, type RedisPubsubOptions } from "./options.ts";
import { pubsubTopology } from "./topology.ts";

/**
 * Sluice on Redis Pub/Sub: at most once, broadcasts only. Who is not connected misses the message; `redis()` keeps it.
 *
 * @throws DriverError CONFIG when an option is wrong.
 */
export function redisPubsub(
  options: RedisPubsubOptions = {},
): Driver<RedisPubsubCapabilities, RedisPubsubMessage, RedisPubsubClient> {
  const settings = pubsubSettings(options);
  const opened = new Map<string, number>();
  return {
    name: "redis-pubsub",
    system: "redis",
    capabilities: pubsubCapabilities,
    topology: (declaration) => pubsubTopology(declaration, settings),
    async connect(context): Promise<Connection> {
      const { runtime, clientName, signal } = context;
      const link = await Link.open({ settings, runtime, who: "redis-pubsub", name: `${clientName} publisher`, signal });
      try {
        const server = await askServer(link, runtime);
        if (settings.sharded) checkVersion(server, "redis-pubsub");
        return new PubsubConnection({ context, settings, link, server, opened });
      } catch (error) {
        link.destroy();
        throw error;
      }
    },
  };
}
