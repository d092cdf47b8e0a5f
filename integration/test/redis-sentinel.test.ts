/** Sentinels: who they say is the master, and a failover. */
import { connect, topic } from "@sluice/core";
import { redis } from "@sluice/redis";
import { afterAll, describe, expect, test } from "vitest";
import { startSentinelNodes } from "../harnesses/redis-sentinel-nodes.ts";

const nodes = await startSentinelNodes();
afterAll(() => nodes?.stop(), 60_000);

describe.skipIf(!nodes)("sentinels", () => {
  test("nothing that the replica had is lost in a failover", { timeout: 120_000 }, async () => {
    if (!nodes) throw new Error("there is no redis-server in the PATH");
    const bus = await connect(redis({ sentinel: nodes.sentinel, leaseMs: 2_000 }));
    const ticks = topic<{ readonly n: number }>("failover", { groups: ["g"] });
    const seen = new Set<number>();
    const first = Promise.withResolvers<void>();
    const all = Promise.withResolvers<void>();
    await bus.subscribe(ticks, { group: "g" }, ({ n }) => {
      if (seen.add(n).size >= 1) first.resolve();
      if (seen.size === 200) all.resolve();
    });
    const publish = (from: number) =>
      Promise.all(Array.from({ length: 100 }, (_, n) => bus.publish(ticks, { n: from + n }, { deadline: 60_000 })));
    await publish(0);
    await first.promise;
    await nodes.killMaster();
    await publish(100);
    await all.promise;
    expect(seen.size).toBe(200);
    await bus.close();
  });
});
