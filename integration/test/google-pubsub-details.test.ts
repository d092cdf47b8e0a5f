/** What is special about Pub/Sub: what is made there, the broker's own dead lettering, snapshots, exactly-once, a client of one's own. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { promisify } from "node:util";
import { PubSub } from "@google-cloud/pubsub";
import { type Bus, connect, nodeRuntime, topic as declareTopic } from "@sluice/core";
import { type Connection, type DriverEvent, emptyHeaders, type Receiver } from "@sluice/core/driver";
import { googlePubsub, type GooglePubsubOptions } from "@sluice/google-pubsub";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { brokers } from "../brokers/index.ts";
import { announce } from "../harnesses/start.ts";

const started = await brokers([{ broker: "google-pubsub" }]);
const [running] = started.available;
if (running) announce(running);
const projectId = process.env["PUBSUB_PROJECT_ID"] ?? "sluice";

afterAll(() => started.stopAll(), 60_000);

const fresh = () => `details-${randomUUID()}`;
const signal = () => AbortSignal.timeout(20_000);

async function eventually(what: string, check: () => Promise<boolean> | boolean, ms = 15_000): Promise<void> {
  const untilMs = performance.now() + ms;
  while (!(await check())) {
    if (performance.now() > untilMs) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.skipIf(!running)("google-pubsub", () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close();
  });

  const openBus = async (options: GooglePubsubOptions = {}) => {
    const bus = await connect(googlePubsub({ projectId, leaseSeconds: 10, ...options }));
    closing.push(() => bus.close());
    return bus;
  };

  const openConnection = async (options: GooglePubsubOptions = {}, events: DriverEvent[] = []) => {
    const driver = googlePubsub({ projectId, leaseSeconds: 10, ...options });
    const report = (event: DriverEvent) => void events.push(event);
    const connection = await driver.connect({ runtime: nodeRuntime, signal: signal(), clientName: "details", report });
    closing.push(() => connection.close(signal()));
    return { driver, connection };
  };

  const group = { name: "g", start: "now", retry: true, deadLetter: true } as const;

  const declare = async (
    { driver, connection }: Awaited<ReturnType<typeof openConnection>>,
    name: string,
    more: object = {},
  ) => {
    const declared = { name, ordered: false, shards: 1, delays: false, groups: [{ ...group, ...more }] };
    return connection.provision(driver.topology({ topics: [declared] }), "create", signal());
  };

  const receiverOf = async (connection: Connection, name: string): Promise<Receiver> => {
    const options = { ordered: false, window: 10, windowBytes: 1 << 24, lost: () => {} };
    const receiver = await connection.receiver([{ topic: name, group: "g", start: "now" }], options);
    closing.push(() => receiver.close(signal()));
    return receiver;
  };

  const send = async (connection: Connection, name: string, id: string) => {
    const sender = await connection.sender();
    const fields = { dedupId: `${id}/0`, key: null, body: Buffer.from(id), headers: emptyHeaders(), time: Date.now() };
    const [result] = await sender.send([{ to: { topic: name }, record: { id, ...fields } }], signal());
    expect(result).toMatchObject({ outcome: "stored" });
  };

  const client = (bus: Bus): PubSub => bus.native as PubSub; // The driver's own type, lost on the way through `connect`'s options.

  it("makes subscriptions that never expire, with filter, policy and order", async () => {
    const opened = await openConnection();
    const name = fresh();
    await declare(opened, name, { filter: { region: "eu" } });
    const pubsub = opened.connection.native as PubSub;
    const [metadata] = await pubsub.subscription(`${name}~g`).getMetadata();
    expect(metadata).toMatchObject({
      filter: 'attributes."region" = "eu"',
      retainAckedMessages: true,
      ackDeadlineSeconds: 10,
      deadLetterPolicy: { maxDeliveryAttempts: 100 },
    });
    expect(metadata.expirationPolicy?.ttl ?? null).toBeNull();
    const [finding] = await declare(opened, name, { filter: { region: "us" } });
    expect(finding).toMatchObject({ state: "differs", detail: expect.stringContaining('wanted "attributes.') });
  });

  it("says why the broker itself dead-lettered a message", async () => {
    const topic = declareTopic<{ readonly n: number }>(fresh(), { groups: ["g"] });
    const bus = await openBus({ deliveryLimit: 10 });
    await bus.publish(topic, { n: 1 });
    const { connection } = await openConnection({ deliveryLimit: 10 });
    const receiver = await receiverOf(connection, topic.name);
    for (let n = 0; n < 10; n++) {
      const [delivery] = (await receiver.receive(1, signal())) ?? [];
      expect(delivery?.deliveries).toBe(n + 1);
      if (delivery) await receiver.settle([{ delivery, accept: false, release: "failed" }]);
    }
    const deadLetters = bus.deadLetters(topic, { group: "g" });
    await eventually("it is a dead letter", async () => (await deadLetters.list()).letters.length === 1);
    const { letters } = await deadLetters.list();
    expect(letters[0]).toMatchObject({
      reason: "crash-suspect",
      errorMessage: expect.stringContaining("10 deliveries"),
    });
    expect(Object.keys(letters[0]?.headers ?? {}).filter((name) => name.startsWith("CloudPubSub"))).toEqual([]);
  });

  it("goes back to a snapshot", async () => {
    const topic = declareTopic<{ readonly n: number }>(fresh(), { groups: ["g"] });
    const bus = await openBus();
    await bus.publish(topic, { n: 1 });
    const snapshot = `snapshot-${randomUUID()}`;
    await client(bus).subscription(`${topic.name}~g`).createSnapshot(snapshot);
    const seen: number[] = [];
    const read = () => bus.subscribe(topic, { group: "g" }, ({ n }) => void seen.push(n));
    const first = await read();
    await eventually("it is handled", () => seen.length === 1);
    await first.close();
    await bus.seek(topic, { group: "g", to: { native: snapshot } });
    await read();
    await eventually("it is handled again", () => seen.length === 2);
    expect(seen).toEqual([1, 1]);
    await client(bus).snapshot(snapshot).delete();
  });

  it("confirms settlements of an exactly-once group", async () => {
    const opened = await openConnection({ exactlyOnce: true });
    const name = fresh();
    await declare(opened, name);
    const receiver = await receiverOf(opened.connection, name);
    await send(opened.connection, name, "one");
    const [delivery] = (await receiver.receive(1, signal())) ?? [];
    if (!delivery) throw new Error("nothing came");
    expect(await receiver.settle([{ delivery, accept: true }])).toEqual(["durable"]);
    expect(await receiver.settle([{ delivery, accept: true }])).toEqual(["lost"]);
  });

  it("makes a deleted subscription again, and says so", async () => {
    const events: DriverEvent[] = [];
    const opened = await openConnection({}, events);
    const name = fresh();
    await declare(opened, name);
    const receiver = await receiverOf(opened.connection, name);
    await (opened.connection.native as PubSub).subscription(`${name}~g`).delete();
    expect(await receiver.closed).toMatchObject({ code: "NOT_FOUND" });
    await expect(receiverOf(opened.connection, name)).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining(`${name}~g`),
    });
    await declare(opened, name);
    expect(events).toEqual([
      expect.objectContaining({ kind: "recreated", detail: expect.stringContaining(`${name}~g`) }),
    ]);
    await receiverOf(opened.connection, name);
  });

  it("does not read a subscription whose topic was deleted", async () => {
    const opened = await openConnection();
    const name = fresh();
    await declare(opened, name);
    await (opened.connection.native as PubSub).topic(name).delete();
    const { connection } = await openConnection();
    await expect(receiverOf(connection, name)).rejects.toMatchObject({
      code: "MISMATCH",
      message: expect.stringContaining("was deleted"),
    });
  });

  it("sweeps what dead broadcast instances left, and nothing else", async () => {
    const opened = await openConnection();
    const name = fresh();
    await declare(opened, name);
    const options = { ordered: false, window: 10, windowBytes: 1 << 24, lost: () => {} };
    const living = { topic: name, broadcast: "cache", instance: "living" };
    const receiver = await opened.connection.receiver([living], options);
    closing.push(() => receiver.close(signal()));
    const pubsub = opened.connection.native as PubSub;
    await pubsub.createSubscription(name, `${name}~cache~dead~broadcast`, { labels: { "sluice-until": "1700000000" } });
    expect(await opened.connection.sweep?.(signal())).toBe(1);
    const [left] = await pubsub.topic(name).getSubscriptions();
    const names = left.map((each) => each.name.split("/").at(-1));
    expect(names).toHaveLength(2);
    expect(names).toEqual(expect.arrayContaining([`${name}~cache~living~broadcast`, `${name}~g`]));
    await receiver.close(signal());
    const [after] = await pubsub.topic(name).getSubscriptions();
    expect(after).toHaveLength(1);
  });

  it("leaves a ready-made client open", async () => {
    const own = new PubSub({ projectId });
    closing.push(() => own.close());
    const bus = await connect(googlePubsub({ client: own }));
    const topic = declareTopic<{ readonly n: number }>(fresh(), { groups: ["g"] });
    await bus.publish(topic, { n: 1 });
    expect(bus.native).toBe(own);
    await bus.close();
    expect(own.isOpen).toBe(true);
    expect(await own.topic(topic.name).exists()).toEqual([true]);
  });

  it("asks no metadata server when it speaks to an emulator", async () => {
    const { METADATA_SERVER_DETECTION: _, ...env } = process.env;
    const program = `
      const { connect, topic } = await import("@sluice/core");
      const { googlePubsub } = await import("@sluice/google-pubsub");
      const bus = await connect(googlePubsub());
      await bus.publish(topic(${JSON.stringify(fresh())}, { groups: ["g"] }), { n: 1 });
      await bus.close();
    `;
    const flags = ["--conditions=@sluice/source", "--input-type=module", "--trace-warnings", "--eval", program];
    const { stderr } = await promisify(execFile)(process.execPath, flags, { env, cwd: import.meta.dirname });
    expect(stderr).toBe("");
  });
});
