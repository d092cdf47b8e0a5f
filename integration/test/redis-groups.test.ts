/** Groups of Redis when the server refuses, and when instances differ. */
import { nodeRuntime } from "@sluice/core";
import {
  type Connection,
  type Delivery,
  emptyHeaders,
  type OutgoingRecord,
  type Receiver,
  type ReceiverOptions,
} from "@sluice/core/driver";
import { redis, type RedisOptions } from "@sluice/redis";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { brokers } from "../brokers/index.ts";
import { announce } from "../harnesses/start.ts";

const started = await brokers([{ broker: "redis" }]);
const [running] = started.available;
if (running) announce(running);
const url = process.env["REDIS_URL"] ?? "redis://localhost:6379";

afterAll(() => started.stopAll(), 60_000);

let count = 0;
const fresh = () => `groups.${process.pid}.${Date.now()}.${++count}`;
const signal = () => AbortSignal.timeout(20_000);
const bodies = (deliveries: readonly Delivery[]) => deliveries.map(({ body }) => Buffer.from(body ?? []).toString());

function record(id: string): OutgoingRecord {
  return { id, dedupId: id, key: "k", body: Buffer.from(id), headers: emptyHeaders(), time: Date.now() };
}

describe.skipIf(!running)("groups of redis", () => {
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
    const driver = redis({ url, ...options });
    const context = { runtime: nodeRuntime, signal: signal(), clientName: "groups", report() {} };
    const connection = await driver.connect(context);
    closing.push(() => connection.close(AbortSignal.timeout(2_000)));
    return connection;
  };
  const make = async (connection: Connection, topic: string, ordered: boolean) => {
    const group = { name: "g", start: "earliest", retry: true, deadLetter: true } as const;
    const topics = [{ name: topic, ordered, shards: 1, delays: false, groups: [group] }];
    await connection.provision(redis({ url }).topology({ topics }), "create", signal());
  };
  const send = async (connection: Connection, topic: string, ids: readonly string[]) => {
    const sender = await connection.sender();
    const results = await sender.send(
      ids.map((id) => ({ to: { topic }, record: record(id) })),
      signal(),
    );
    expect(results.every(({ outcome }) => outcome === "stored")).toBe(true);
  };
  const openReceiver = (connection: Connection, topic: string, options: Partial<ReceiverOptions> = {}) =>
    connection.receiver([{ topic, group: "g", start: "earliest" }], {
      ordered: false,
      window: 500,
      windowBytes: 1e8,
      lost() {},
      ...options,
    });
  const take = async (receiver: Receiver, wanted: number) => {
    const found: Delivery[] = [];
    while (found.length < wanted) found.push(...((await receiver.receive(wanted - found.length, signal())) ?? []));
    return found;
  };

  it("an ordered message that cannot be given back comes again, before anything new", async () => {
    const connection = await open();
    const topic = fresh();
    await make(connection, topic, true);
    await send(connection, topic, ["1", "2"]);
    const receiver = await openReceiver(connection, topic, { ordered: true });
    const [one, two] = await take(receiver, 2);
    if (!one || !two) throw new Error("nothing came");
    await client.config("SET", "maxmemory", "1");
    try {
      expect(await receiver.settle([{ delivery: one, accept: false, release: "failed" }])).toEqual(["lost"]);
    } finally {
      await client.config("SET", "maxmemory", "0");
    }
    await send(connection, topic, ["3"]);
    const again = await take(receiver, 2);
    expect(bodies(again)).toEqual(["1", "3"]);
    expect(again[0]?.deliveries).toBe(2);
    // The one that was in hand all the time stays ours, and counts once.
    expect(await client.xpending(topic, "g", "-", "+", 10)).toMatchObject([{ 3: 2 }, { 3: 1 }, { 3: 1 }]);
    const settled = await receiver.settle([two, ...again].map((delivery) => ({ delivery, accept: true })));
    expect(settled).toEqual(["durable", "durable", "durable"]);
  });

  it("an instance of a short lease takes nothing from one of a long lease, and finds what lies behind it", async () => {
    const long = await open({ leaseMs: 30_000 });
    const short = await open({ leaseMs: 500 });
    const topic = fresh();
    await make(long, topic, false);
    const ids = Array.from({ length: 250 }, (_, n) => `m${n}`);
    await send(long, topic, ids);
    const holder = await openReceiver(long, topic);
    const held = await take(holder, ids.length);
    const dying = await open({ leaseMs: 500 });
    const dead = await openReceiver(dying, topic);
    await send(long, topic, ["left"]);
    // Only one of the two reads: the holder's window is full, or it would be asked to.
    expect(bodies(await take(dead, 1))).toEqual(["left"]);
    (dying.native as Redis).disconnect();
    await dead.closed;
    const claimer = await openReceiver(short, topic);
    const found = await take(claimer, 1);
    expect(bodies(found)).toEqual(["left"]);
    expect(found[0]?.deliveries).toBe(2);
    const settled = await holder.settle(held.map((delivery) => ({ delivery, accept: true })));
    expect(settled.filter((result) => result !== "durable")).toEqual([]);
  });
});
