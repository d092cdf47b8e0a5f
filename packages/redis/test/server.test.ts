import type { Runtime } from "@sluice/core/driver";
import { Cluster } from "ioredis";
import { expect, test } from "vitest";
import type { Link } from "../src/client.ts";
import { askServer } from "../src/server.ts";

/** Whoever does not answer is given up at once. */
const runtime: Runtime = {
  wallMs: () => 0,
  monotonicMs: () => 0,
  random: () => 0.5,
  id: () => "id",
  timer: (_, run) => {
    const timer = setImmediate(run);
    return () => clearImmediate(timer);
  },
  defer: (run) => void setImmediate(run),
};

const text = (appendOnly: 0 | 1, replicas: number, eviction = "noeviction", version = "8.0.6") =>
  `redis_version:${version}\r\naof_enabled:${appendOnly}\r\nconnected_slaves:${replicas}\r\nmaxmemory_policy:${eviction}\r\n`;

const down = () => Promise.reject(new Error("down"));
const silent = () => new Promise<string>(() => {});

function ask(...masters: readonly (string | (() => Promise<string>))[]) {
  const cluster = new Cluster([{ host: "h", port: 7000 }], { lazyConnect: true });
  const nodes = masters.map((answer) => ({ info: async () => (typeof answer === "string" ? answer : answer()) }));
  Object.assign(cluster, { nodes: () => nodes, info: () => masters[0] });
  const link = { ask: (_: string, call: (client: Cluster) => unknown) => Promise.resolve(call(cluster)) };
  return askServer(link as unknown as Link, runtime); // Only what it has is used.
}

test.each([
  ["all are alike", [text(1, 0), text(1, 0)], { eviction: "noeviction", appendOnly: true, replicas: 0 }],
  ["one evicts", [text(1, 0), text(1, 0, "allkeys-lru"), text(1, 0)], { eviction: "allkeys-lru" }],
  ["the first evicts", [text(1, 0, "allkeys-lru"), text(1, 0)], { eviction: "allkeys-lru" }],
  ["one keeps nothing", [text(1, 1), text(0, 0), text(1, 1)], { appendOnly: false, replicas: 0 }],
  ["one keeps by a file, one by a replica", [text(1, 0), text(0, 1)], { appendOnly: false, replicas: 1 }],
  ["one is old", [text(1, 0), text(1, 0, "noeviction", "6.2.1")], { name: "Redis 6.2.1", version: "6.2.1" }],
  ["one is down", [down, text(0, 0)], { appendOnly: false, version: "8.0.6" }],
  ["one is silent", [silent, text(0, 0)], { appendOnly: false, version: "8.0.6" }],
] as const)("of a cluster the worst master counts: %s", async (_, masters, expected) => {
  expect(await ask(...masters)).toMatchObject(expected);
});
