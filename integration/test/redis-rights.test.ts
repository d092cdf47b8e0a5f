/** The rights of `bus.plan()` are enough: users with exactly those of their role, on a real server. */
import { randomUUID } from "node:crypto";
import { type Bus, connect, type Role, topic, type Topic } from "@sluice/core";
import { redis, redisPubsub } from "@sluice/redis";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { brokers } from "../brokers/index.ts";
import { announce } from "../harnesses/start.ts";

interface Tick {
  readonly n: number;
}

const started = await brokers([{ broker: "redis" }]);
const [running] = started.available;
if (running) announce(running);
const url = process.env["REDIS_URL"] ?? "redis://localhost:6379";
afterAll(() => started.stopAll(), 60_000);

/** What the README says beside the plan: to connect. */
const connecting = ["+ping", "+hello", "+auth", "+client", "+info"];

describe.skipIf(!running)("planned rights", () => {
  let admin: Redis;
  beforeAll(() => {
    admin = new Redis(url);
  });
  afterAll(() => admin.disconnect());

  /** A bus of a user who may do what the plan names for the role, and nothing else. */
  async function openAs(role: Role, ticks: Topic<Tick, Tick>): Promise<{ readonly bus: Bus; readonly user: string }> {
    const planning = await connect(redis({ url }));
    const rights = planning.plan([ticks]).resources.flatMap(({ actions }) => actions?.[role] ?? []);
    await planning.close();
    const user = `${role}-${randomUUID()}`;
    const keys = [`~${ticks.name}`, `~{${ticks.name}}:*`];
    await admin.call("acl", "SETUSER", user, "reset", "on", ">secret", "-@all", ...keys, ...connecting, ...rights);
    const driver = redis({ url, username: user, password: "secret", maxEntries: 10_000, retentionMs: 0 });
    const bus = await connect(driver, { provision: role === "provision" ? "create" : "assume" });
    onTestFinished(async () => {
      await bus.close();
      await admin.call("acl", "DELUSER", user);
    });
    return { bus, user };
  }

  /** n.b. what is tried again, or given up in silence, is in the server's log all the same. */
  async function refused(users: readonly string[]): Promise<readonly string[]> {
    const rows = (await admin.call("acl", "LOG", "128")) as unknown[][];
    return rows
      .map((row) => new Map(row.map((value, at) => [String(value), row[at + 1]])))
      .filter((row) => users.includes(String(row.get("username"))))
      .map((row) => `${String(row.get("username")).split("-")[0]}: ${String(row.get("object"))}`);
  }

  test("of channels are enough to publish and to listen, and without them it is FORBIDDEN", async () => {
    const ticks = topic<Tick>(`rights-${randomUUID()}`);
    const planned = redisPubsub({ url }).topology({
      topics: [{ name: ticks.name, ordered: false, shards: 1, delays: false, groups: [] }],
    });
    const open = async (user: string, ...rights: readonly string[]) => {
      await admin.call("acl", "SETUSER", user, "reset", "on", ">secret", "-@all", ...connecting, ...rights);
      const bus = await connect(redisPubsub({ url, username: user, password: "secret" }));
      onTestFinished(async () => {
        await bus.close();
        await admin.call("acl", "DELUSER", user);
      });
      return bus;
    };
    const rightsOf = (role: Role) => planned.flatMap(({ actions }) => actions?.[role] ?? []);
    const mode = { delivery: "at-most-once" } as const;
    const producer = await open(`channel-publish`, `&${ticks.name}`, ...rightsOf("publish"));
    const consumer = await open(`channel-consume`, `&${ticks.name}`, ...rightsOf("consume"));
    const stranger = await open(`channel-nobody`);
    const came = Promise.withResolvers<number>();
    await consumer.subscribe(ticks, { broadcast: "b", ...mode }, ({ n }) => came.resolve(n));
    await producer.publish(ticks, { n: 1 }, mode);
    expect(await came.promise).toBe(1);
    expect(await refused(["channel-publish", "channel-consume"])).toEqual([]);
    const named = { code: "FORBIDDEN", message: expect.stringContaining(ticks.name) };
    await expect(stranger.publish(ticks, { n: 1 }, mode)).rejects.toMatchObject({ ...named, outcome: "not-stored" });
    await expect(stranger.subscribe(ticks, { broadcast: "b", ...mode }, () => {})).rejects.toMatchObject(named);
  });

  test.each(["none", "key"] as const)("are enough for everything (ordering: %s)", { timeout: 60_000 }, async (kind) => {
    const ticks = topic<Tick>(`rights-${randomUUID()}`, {
      groups: ["g"],
      ...(kind === "none" ? { ordering: kind } : { key: () => "k" }),
    });
    const provisioner = await openAs("provision", ticks);
    await provisioner.bus.provision([ticks]);
    const producer = await openAs("publish", ticks);
    const consumer = await openAs("consume", ticks);
    const expected = [1, 2, 3, 4].flatMap((n) => [`broadcast ${n}`, `group ${n}`]);
    const seen: string[] = [];
    const all = Promise.withResolvers<void>();
    const note = (text: string) => {
      seen.push(text);
      if (seen.length === expected.length) all.resolve();
    };
    await consumer.bus.subscribe(ticks, { broadcast: "b" }, ({ n }) => note(`broadcast ${n}`));
    const retry = { attempts: 2, firstDelay: 20, inPlace: 0 };
    await consumer.bus.subscribe(ticks, { group: "g", retry }, ({ n }, context) => {
      if (n === 2 && context.message.attempt === 1) throw new Error("not yet");
      if (n === 3 && context.message.redrives === 0) return context.deadLetter("not now");
      note(`group ${n}`);
    });
    const dead = consumer.bus.settled(ticks, { group: "g", fate: "dead-letter" });
    for (const n of [1, 2, 3]) await producer.bus.publish(ticks, { n }, n === 1 ? { delay: 50 } : {});
    await dead;
    const letters = consumer.bus.deadLetters(ticks, { group: "g" });
    expect(await letters.count()).toBe(1);
    expect((await letters.list()).letters).toHaveLength(1);
    expect(await letters.redrive()).toMatchObject({ redriven: 1 });
    await producer.bus.publish(ticks, { n: 4 });
    await Promise.race([all.promise, new Promise((resolve) => setTimeout(resolve, 15_000))]);
    expect(await refused([provisioner.user, producer.user, consumer.user])).toEqual([]);
    expect(seen.toSorted()).toEqual(expected.toSorted());
    await consumer.bus.close();
    await producer.bus.close();
    expect(await refused([producer.user, consumer.user])).toEqual([]);
  });
});
