/** The drivers on a real cluster: topics of all slots, groups over several nodes, scripts whose keys are on one. */
import { connect, topic as declareTopic } from "@sluice/core";
import { conformance } from "@sluice/conformance/vitest";
import { redis, redisPubsub } from "@sluice/redis";
import { Redis } from "ioredis";
import { subscribe as onChannel, unsubscribe } from "node:diagnostics_channel";
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
    const topics = names.map((name) => declareTopic<{ readonly n: number }>(name));
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

  it.each([
    ["a slot that moves", true, moveSlot],
    ["a socket that dies, sharded", true, killSubscribers],
    ["a socket that dies", false, killSubscribers],
  ] as const)("%s is a gap, and messages come again", async (_, sharded, disturb) => {
    const gaps: unknown[] = [];
    const gap = Promise.withResolvers<void>();
    const report = (event: unknown) => {
      const { kind, detail } = event as { readonly kind: string; readonly detail: string };
      if (kind !== "gap" || !detail.includes(topic.name)) return;
      gaps.push(event);
      gap.resolve();
    };
    const topic = declareTopic<{ readonly n: number }>(`cluster.moving.${process.pid}`);
    onChannel("sluice:broker", report);
    const bus = await connect(redisPubsub({ cluster, sharded }));
    const seen: number[] = [];
    const second = Promise.withResolvers<void>();
    await bus.subscribe(topic, { broadcast: "b", delivery: "at-most-once" }, ({ n }) => {
      seen.push(n);
      if (n === 2) second.resolve();
    });
    await bus.publish(topic, { n: 1 }, { delivery: "at-most-once" });
    const clients = cluster.map((url) => new Redis(url));
    await disturb(clients, topic.name);
    await gap.promise;
    // It is told when the subscription is there again.
    await bus.publish(topic, { n: 2 }, { delivery: "at-most-once" });
    await second.promise;
    expect(gaps).toHaveLength(1);
    for (const client of clients) client.disconnect();
    await bus.close();
    unsubscribe("sluice:broker", report);
  });
});

async function moveSlot(clients: readonly Redis[], channel: string): Promise<void> {
  const [any] = clients;
  const slot = Number(await any?.call("cluster", "KEYSLOT", channel));
  const ids = await Promise.all(clients.map(async (client) => String(await client.call("cluster", "MYID"))));
  const ranges = (await any?.call("cluster", "SLOTS")) as [number, number, [string, number, string]][];
  const from = ids.indexOf(ranges.find(([first, last]) => first <= slot && slot <= last)?.[2][2] ?? "");
  const to = (from + 1) % ids.length;
  const tell = (node: number, ...words: string[]) => clients[node]?.call("cluster", "SETSLOT", slot, ...words);
  await tell(to, "IMPORTING", ids[from] ?? "");
  await tell(from, "MIGRATING", ids[to] ?? "");
  for (const node of [to, from]) await tell(node, "NODE", ids[to] ?? "");
}

async function killSubscribers(clients: readonly Redis[]): Promise<void> {
  await Promise.all(clients.map((client) => client.call("client", "KILL", "TYPE", "pubsub")));
}
