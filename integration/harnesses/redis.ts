import { defineHarness, type DriverVariant, type Harness, wrongSecret } from "@sluice/conformance";
import { redis } from "@sluice/redis";
import { Redis } from "ioredis";
import { openRawRedis } from "./raw-redis.ts";
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

const leaseMs = 5_000;

const harness: Harness = defineHarness({
  adapter: "@sluice/redis",
  environment: announced("redis"),
  clients: { ioredis: versionOf("ioredis") },
  driver: (variant = {}) => redis({ url: urlFor(variant), leaseMs, answerMs: 4_000 }),
  raw: async () => {
    const open = () => new Redis(url, { maxRetriesPerRequest: null });
    await makePowerless(url);
    return openRawRedis(open);
  },
  powerless: true,
  // An idle entry is looked for four times in a lease.
  timing: { leaseMs: 1.5 * leaseMs, recoveryMs: 8_000, quietMs: 300 },
  upstream: { host: hostname, port: Number(port) || 6379 },
  parallel: 6,
});

export default harness;
