/** The drivers on a real cluster: topics of all slots, groups over several nodes, scripts whose keys are on one. */
import { connect, topic as declareTopic } from "@sluice/core";
import { conformance } from "@sluice/conformance/vitest";
import { redis, redisPubsub } from "@sluice/redis";
import { afterAll, describe, expect, it } from "vitest";
import { startClusterNodes } from "../harnesses/redis-cluster-nodes.ts";

const nodes = await startClusterNodes();
if (nodes) process.env["REDIS_CLUSTER_URLS"] = nodes.urls;
afterAll(() => nodes?.stop(), 60_000);

conformance(new URL("../harnesses/redis-cluster.ts", import.meta.url), {
  profile: "standard",
  title: "redis cluster of three native nodes",
  ...(nodes === undefined && { unavailable: "there is no redis-server in the PATH" }),
});

describe.skipIf(!nodes)("on three nodes", () => {
  const cluster = nodes?.urls.split(",") ?? [];
  const names = Array.from({ length: 24 }, (_, n) => `cluster.${process.pid}.${n}`);

  it("one subscription reads topics of many slots", async () => {
    const bus = await connect(redis({ cluster }));
    const topics = names.map((name) => declareTopic<{ readonly n: number }>(name));
    const seen = new Set<string>();
    const all = Promise.withResolvers<void>();
    await bus.subscribe(topics, { group: "g" }, (_, { message }) => {
      if (seen.add(message.topic).size === names.length) all.resolve();
    });
    for (const topic of topics) await bus.publish(topic, { n: 1 }, { delay: 20 });
    await all.promise;
    expect([...seen].sort()).toEqual([...names].sort());
    await bus.close();
  });

  it.each([true, false])("channels reach their listeners (sharded: %s)", async (sharded) => {
    const bus = await connect(redisPubsub({ cluster, sharded }));
    const topics = names.map((name) => declareTopic<{ readonly n: number }>(name, { unrouted: "allow" }));
    const seen = new Set<string>();
    const all = Promise.withResolvers<void>();
    await bus.subscribe(topics, { broadcast: "b", delivery: "at-most-once" }, (_, { message }) => {
      if (seen.add(message.topic).size === names.length) all.resolve();
    });
    for (const topic of topics) await bus.publish(topic, { n: 1 }, { delivery: "at-most-once" });
    await all.promise;
    expect([...seen].sort()).toEqual([...names].sort());
    await bus.close();
  });
});
