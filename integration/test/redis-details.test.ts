/** What is special about Redis: trimming, findings, deleted streams, lost replies, delays whose owner died. */
import { connect, topic as declareTopic } from "@sluice/core";
import {
  type Connection,
  type Delivery,
  emptyHeaders,
  type OutgoingRecord,
  type Receiver,
  type SendItem,
} from "@sluice/core/driver";
import { nodeRuntime } from "@sluice/core";
import { redis, type RedisOptions } from "@sluice/redis";
import { Redis } from "ioredis";
import { subscribe as onChannel } from "node:diagnostics_channel";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { brokers } from "../brokers/index.ts";
import { announce } from "../harnesses/start.ts";

const started = await brokers([{ broker: "redis" }]);
const [running] = started.available;
if (running) announce(running);
const url = process.env["REDIS_URL"] ?? "redis://localhost:6379";

afterAll(() => started.stopAll(), 60_000);

let count = 0;
const fresh = () => `details.${process.pid}.${Date.now()}.${++count}`;
const signal = () => AbortSignal.timeout(20_000);

function record(id: string, parts: Partial<OutgoingRecord> = {}): OutgoingRecord {
  const fields = { key: null, body: Buffer.from(id), headers: emptyHeaders(), time: Date.now() };
  return { id, dedupId: `${id}/0`, ...fields, ...parts };
}

async function eventually(what: string, check: () => Promise<boolean> | boolean, ms = 15_000): Promise<void> {
  const untilMs = performance.now() + ms;
  while (!(await check())) {
    if (performance.now() > untilMs) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.skipIf(!running)("redis", () => {
  let client: Redis;
  const closing: (() => Promise<unknown>)[] = [];
  beforeAll(() => {
    client = new Redis(url);
  });
  afterAll(() => client.disconnect());
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  const open = async (options: RedisOptions = {}): Promise<Connection> => {
    const report = () => {};
    const driver = redis({ url, ...options });
    const connection = await driver.connect({ runtime: nodeRuntime, signal: signal(), clientName: "details", report });
    closing.push(() => connection.close(AbortSignal.timeout(2_000)));
    return connection;
  };
  const make = async (connection: Connection, topic: string, groups: readonly string[], options: RedisOptions = {}) => {
    const declared = groups.map((name) => ({ name, start: "earliest" as const, retry: true, deadLetter: true }));
    const resources = redis({ url, ...options }).topology({
      topics: [{ name: topic, ordered: false, shards: 1, delays: true, groups: declared }],
    });
    return connection.provision(resources, "create", signal());
  };
  const send = async (connection: Connection, items: readonly SendItem[]) => {
    const sender = await connection.sender();
    return sender.send(items, signal());
  };
  const read = async (connection: Connection, topic: string, group: string, wanted: number) => {
    const source = { topic, group, start: "earliest" as const };
    const receiver = await connection.receiver([source], { ordered: false, window: 500, windowBytes: 1e8, lost() {} });
    const found = [];
    while (found.length < wanted) found.push(...((await receiver.receive(wanted - found.length, signal())) ?? []));
    return { receiver, found };
  };

  it("trims what every group has settled, and never what one has not", async () => {
    const connection = await open({ retentionMs: 0 });
    const topic = fresh();
    await make(connection, topic, ["fast", "slow"]);
    // Whole nodes of a stream are deleted: a hundred entries, or four kilobytes.
    const items = Array.from({ length: 1_000 }, (_, n) => ({ to: { topic }, record: record(`r${n}`) }));
    for (let at = 0; at < items.length; at += 250) await send(connection, items.slice(at, at + 250));
    const { receiver, found } = await read(connection, topic, "fast", 500);
    await receiver.settle(found.map((delivery) => ({ delivery, accept: true })));
    await connection.sweep?.(signal());
    expect(await client.xlen(topic)).toBe(1_000);
    const slow = await read(connection, topic, "slow", 500);
    await slow.receiver.settle(slow.found.map((delivery) => ({ delivery, accept: true })));
    await eventually("half of the stream is trimmed", async () => (await client.xlen(topic)) <= 600);
    const first = await client.xrange(topic, "-", "+", "COUNT", 1);
    const oldest = slow.found.at(-1)?.native as { readonly id: string };
    // Nothing above the last settled entry went.
    expect(Number(first[0]?.[0].split("-")[0])).toBeLessThanOrEqual(Number(oldest.id.split("-")[0]) + 1);
    expect(await connection.backlog({ topic, group: "slow", start: "now" }, signal())).toMatchObject({
      ready: 500,
      inFlight: 0,
    });
  });

  it("deletes unread entries only where a hard limit is typed out, and says so", async () => {
    const events: unknown[] = [];
    const driver = redis({ url, maxEntries: 100 });
    const connection = await driver.connect({
      runtime: nodeRuntime,
      signal: signal(),
      clientName: "details",
      report: (event) => void events.push(event),
    });
    closing.push(() => connection.close(AbortSignal.timeout(2_000)));
    const topic = fresh();
    await make(connection, topic, ["g"]);
    await send(
      connection,
      Array.from({ length: 250 }, (_, n) => ({ to: { topic }, record: record(`r${n}`) })),
    );
    expect(await connection.sweep?.(signal())).toBeGreaterThan(0);
    expect(events).toContainEqual(expect.objectContaining({ kind: "data-loss" }));
  });

  it("stores a repeated write once, and the copy of a move once more", async () => {
    const connection = await open();
    const topic = fresh();
    await make(connection, topic, ["g"]);
    const item = { to: { topic }, record: record("same") };
    const first = await send(connection, [item]);
    const second = await send(connection, [item]);
    expect(second).toEqual(first);
    expect(await client.xlen(topic)).toBe(1);
    await send(connection, [{ to: { topic, group: "g" }, record: record("same", { dedupId: "same/1" }) }]);
    expect(await client.xlen(`{${topic}}:own:0:g`)).toBe(1);
  });

  it("moves delayed records on although whoever sent them is gone, each once, none early", async () => {
    const topic = fresh();
    const dead = await open();
    await make(dead, topic, ["g"]);
    const dueMs = Date.now() + 700;
    const items = Array.from({ length: 200 }, (_, n) => ({ to: { topic }, notBefore: dueMs, record: record(`d${n}`) }));
    await send(dead, items);
    await dead.close(AbortSignal.abort());
    const readers = await Promise.all([open(), open(), open()]);
    const all = readers.map((connection) => read(connection, topic, "g", 1));
    await eventually("everything is in the stream", async () => {
      const length = await client.xlen(topic);
      expect(length === 0 || Date.now() >= dueMs, `${length} entries before they were due`).toBe(true);
      return length === 200;
    });
    expect(await client.zcard(`{${topic}}:delayed`)).toBe(0);
    expect(await client.hlen(`{${topic}}:delayed:records`)).toBe(0);
    const [backlog] = await Promise.all(
      readers.map((connection) => connection.backlog({ topic, group: "g", start: "now" }, signal())),
    );
    expect(backlog?.delayed).toBe(0);
    await Promise.allSettled(all.map(async (reading) => (await reading).receiver.close(AbortSignal.abort())));
  });

  it("goes on when its streams are deleted, and misses nothing that is sent afterwards", async () => {
    const kinds: string[] = [];
    onChannel("sluice:broker", (event) => void kinds.push((event as { readonly kind: string }).kind));
    const bus = await connect(redis({ url }));
    closing.push(() => bus.close());
    const topic = declareTopic<{ readonly n: number }>(fresh(), { groups: ["g"] });
    const seen: number[] = [];
    await bus.subscribe(topic, { group: "g" }, ({ n }) => void seen.push(n));
    await bus.publish(topic, { n: 1 });
    await eventually("the first arrives", () => seen.includes(1));
    const keys = await client.keys(`*${topic.name}*`);
    await client.del(...keys);
    await bus.publish(topic, { n: 2 });
    await eventually("the second arrives", () => seen.includes(2));
    expect(kinds).toContain("recreated");
  });

  it("tells exactly how much a broadcast missed, and nothing when it missed nothing", async () => {
    const gaps: number[] = [];
    const driver = redis({ url, retentionMs: 0 });
    const name = `broadcast-${process.pid}`;
    const connection = await driver.connect({
      runtime: nodeRuntime,
      signal: signal(),
      clientName: name,
      report: ({ kind, count = -1 }) => void (kind === "gap" && gaps.push(count)),
    });
    closing.push(() => connection.close(AbortSignal.timeout(2_000)));
    const topic = fresh();
    await make(connection, topic, ["g"]);
    const listen = () =>
      connection.receiver([{ topic, broadcast: "b", instance: "i" }], {
        ordered: false,
        window: 500,
        windowBytes: 1e8,
        lost() {},
      });
    const take = async (receiver: Receiver, wanted: number) => {
      const found: Delivery[] = [];
      while (found.length < wanted) found.push(...((await receiver.receive(wanted - found.length, signal())) ?? []));
      await receiver.settle(found.map((delivery) => ({ delivery, accept: true })));
    };
    const round = async (n: number) => {
      const items = Array.from({ length: 250 }, (_, index) => ({ to: { topic }, record: record(`b${n}.${index}`) }));
      await send(connection, items);
      const { receiver, found } = await read(connection, topic, "g", 250);
      await receiver.settle(found.map((delivery) => ({ delivery, accept: true })));
      await receiver.close(signal());
      await connection.sweep?.(signal());
      return client.xlen(topic);
    };
    const cut = async (receiver: Receiver) => {
      const clients = String(await client.client("LIST")).split("\n");
      const id = clients.find((line) => line.includes(`name=${name}-reader`))?.match(/^id=(\d+)/)?.[1] ?? "";
      await client.client("KILL", "ID", id);
      expect(await receiver.closed).toMatchObject({ retryable: true });
    };
    const first = await listen();
    await send(connection, [{ to: { topic }, record: record("b0") }]);
    await take(first, 1);
    await cut(first);
    const rest = await round(1);
    const second = await listen();
    await take(second, rest);
    expect(gaps).toEqual([250 - rest]);
    await cut(second);
    await client.xtrim(topic, "MAXLEN", 0);
    const third = await listen();
    await send(connection, [{ to: { topic }, record: record("b2") }]);
    await take(third, 1);
    expect(gaps).toHaveLength(1);
    await third.close(signal());
  });

  it("finds a server that evicts", async () => {
    const before = await client.config("GET", "maxmemory-policy");
    await client.config("SET", "maxmemory-policy", "allkeys-lru");
    try {
      const connection = await open();
      const findings = await make(connection, fresh(), ["g"]);
      const bad = findings.filter(({ state }) => state === "loses-data");
      expect(bad.map(({ detail }) => detail)).toEqual([expect.stringContaining("maxmemory-policy is allkeys-lru")]);
    } finally {
      await client.config("SET", "maxmemory-policy", String((before as string[])[1] ?? "noeviction"));
    }
  });

  it("says that another number of shards is another topic, and what a key of another type is", async () => {
    const connection = await open();
    const topic = fresh();
    await make(connection, topic, []);
    const ordered = { name: topic, ordered: true, shards: 4, delays: false, groups: [] };
    const findings = await connection.provision(redis().topology({ topics: [ordered] }), "create", signal());
    expect(findings.filter(({ state }) => state !== "ok")).toMatchObject([
      { state: "differs", detail: expect.stringContaining("is not ordered, wanted ordered with 4 shards") },
    ]);
    const taken = fresh();
    await client.set(taken, "a text");
    const others = await make(connection, taken, ["g"]);
    expect(others).toMatchObject([{ state: "differs", detail: expect.stringContaining("is a string, not a stream") }]);
    expect(await client.get(taken)).toBe("a text");
  });

  it("serves a thousand topics with three sockets", { timeout: 120_000 }, async () => {
    const name = `thousand-${process.pid}`;
    const bus = await connect(redis({ url }), { clientName: name });
    closing.push(() => bus.close());
    const base = fresh();
    const topics = Array.from({ length: 1_000 }, (_, n) => declareTopic<{ readonly n: number }>(`${base}.${n}`));
    let handled = 0;
    await bus.subscribe(topics, { group: "g" }, () => void handled++);
    for (let round = 0; round < 3; round++) await Promise.all(topics.map((topic) => bus.publish(topic, { n: round })));
    await eventually("all arrive", () => handled === 3_000, 60_000);
    const clients = String(await client.client("LIST")).split("\n");
    expect(clients.filter((line) => line.includes(`name=${name}-`)).length).toBeLessThanOrEqual(3);
  });
});
