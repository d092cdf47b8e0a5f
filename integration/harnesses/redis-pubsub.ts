import { defineHarness, type DriverVariant, type Harness, wrongSecret } from "@sluice/conformance";
import { redisPubsub } from "@sluice/redis";
import { openRawRedisPubsub } from "./raw-redis-pubsub.ts";
import { makePowerless } from "./redis-powerless.ts";
import { announced, versionOf } from "./start.ts";

const url = process.env["REDIS_URL"] ?? "redis://localhost:6379";
const { hostname, port } = new URL(url);

function urlFor({ via, credentials }: DriverVariant): string {
  const parts = new URL(url);
  if (via) {
    parts.hostname = via.host;
    parts.port = String(via.port);
  }
  if (credentials === "wrong") {
    // The server's own user needs no password here, so that any would do: this one does not exist.
    parts.username = "conformance";
    parts.password = wrongSecret;
  }
  if (credentials === "powerless") parts.username = parts.password = "powerless";
  return parts.href;
}

const harness: Harness = defineHarness({
  adapter: "@sluice/redis",
  environment: announced("redis-pubsub"),
  clients: { ioredis: versionOf("ioredis") },
  driver: (variant = {}) => redisPubsub({ url: urlFor(variant) }),
  raw: async () => {
    await makePowerless(url);
    return openRawRedisPubsub(url);
  },
  powerless: true,
  timing: { leaseMs: 3_000, recoveryMs: 8_000, quietMs: 300 },
  upstream: { host: hostname, port: Number(port) || 6379 },
  parallel: 6,
});

export default harness;
