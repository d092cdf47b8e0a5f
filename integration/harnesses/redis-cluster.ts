import { defineHarness, type Harness } from "@sluice/conformance";
import { redis } from "@sluice/redis";
import { Cluster } from "ioredis";
import { openRawRedis } from "./raw-redis.ts";
import { announced, versionOf } from "./start.ts";

const urls = (process.env["REDIS_CLUSTER_URLS"] ?? "redis://localhost:7000").split(",");
const leaseMs = 3_000;

// n.b. the proxy and a wrong address would have to stand before every node.
const manyAddresses = "clients follow the addresses that the nodes announce, past any proxy";

const harness: Harness = defineHarness({
  adapter: "@sluice/redis",
  environment: announced("redis-cluster"),
  clients: { ioredis: versionOf("ioredis") },
  driver: () => redis({ cluster: urls, leaseMs, answerMs: 5_000 }),
  raw: () =>
    openRawRedis(() => {
      const nodes = urls.map((url) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) }));
      return new Cluster(nodes);
    }),
  timing: { leaseMs: 1.5 * leaseMs, recoveryMs: 8_000, quietMs: 300 },
  environmentSkips: {
    "G-27": "the nodes have no password: they let everybody in",
    "G-30": manyAddresses,
    ...Object.fromEntries(["G-04a", "G-04b", "G-04c", "G-04d", "G-11"].map((id) => [id, manyAddresses])),
  },
  parallel: 4,
});

export default harness;
