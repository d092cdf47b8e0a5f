// Rights one by one, on a real broker with ACLs: what is forbidden is said by name, and nothing beside it is harmed.
import { randomUUID } from "node:crypto";
import { type Bus, connect, type ConnectOptions, topic, type Topic } from "@sluice/core";
import { kafka } from "@sluice/kafka";
import {
  AclOperationTypes,
  AclPermissionTypes,
  AclResourceTypes,
  type Admin,
  Kafka,
  logLevel,
  ResourcePatternTypes,
} from "kafkajs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { brokers } from "../brokers/index.ts";

// Only a broker that we configure has a listener with a login and nobody's rights.
const provider = process.env["KAFKA_SECURED"] === undefined ? "native" : "external";
const started = await brokers([{ broker: "kafka", provider }]);
process.stdout.write(`${started.table()}\n`);
afterAll(() => started.stopAll(), 60_000);
const [running] = started.available;
const address = running?.address.kind === "brokers" ? running.address.brokers : [];
/** A listener whose only user, `powerless`, has no rights but those that a test gives. */
const secured = running?.environmentVariables["KAFKA_SECURED"] ?? process.env["KAFKA_SECURED"];
const user = "powerless";
const patience = { timeout: 60_000, interval: 50 };

interface Tick {
  readonly n: number;
}

let admin: Admin;
beforeAll(async () => {
  admin = new Kafka({ brokers: [...address], logLevel: logLevel.NOTHING }).admin();
  if (secured !== undefined) await admin.connect();
});
afterAll(() => admin.disconnect());

type Operation = "READ" | "WRITE" | "DESCRIBE" | "CREATE";

function entry(kind: "TOPIC" | "GROUP", name: string, operation: Operation) {
  return {
    principal: `User:${user}`,
    host: "*",
    resourceType: AclResourceTypes[kind],
    resourceName: name,
    resourcePatternType: ResourcePatternTypes.LITERAL,
    operation: AclOperationTypes[operation],
    permissionType: AclPermissionTypes.ALLOW,
  };
}

/** What a user is given is there for every broker a moment later: whoever needs it at once waits for its effect. */
async function give(kind: "TOPIC" | "GROUP", name: string, ...operations: readonly Operation[]): Promise<void> {
  await admin.createAcls({ acl: operations.map((operation) => entry(kind, name, operation)) });
}

/** Whoever provisions looks at the waiting places too. */
async function letSeeDelays(): Promise<void> {
  const places = {
    ...entry("TOPIC", "_sluice.delay.", "DESCRIBE"),
    resourcePatternType: ResourcePatternTypes.PREFIXED,
  };
  await admin.createAcls({ acl: [places] });
}

async function take(kind: "TOPIC" | "GROUP", name: string, operation: Operation): Promise<void> {
  await admin.deleteAcls({ filters: [entry(kind, name, operation)] });
}

const timing = { sessionTimeout: 6_000, heartbeatInterval: 500, fetchWait: 100 };

async function open(as: "anybody" | "user", options: ConnectOptions = {}): Promise<Bus> {
  const driver =
    as === "anybody"
      ? kafka({ brokers: address, ...timing })
      : kafka({
          brokers: [secured ?? ""],
          sasl: { mechanism: "PLAIN", username: user, password: user },
          ...timing,
        });
  const bus = await connect(driver, options);
  onTestFinished(() => bus.close());
  return bus;
}

function named(what: string): Topic<Tick, Tick> {
  return topic<Tick>(`${what}-${randomUUID()}`, { groups: ["g"], shards: 1, ordering: "none" });
}

/** Topics that exist, with their group. */
async function make<const T extends readonly Topic<Tick, Tick>[]>(...topics: T): Promise<T> {
  const maker = await open("anybody");
  for (const each of topics) await maker.publish(each, { n: 0 });
  await maker.close();
  return topics;
}

/** Everything that a reader of group "g" needs there. */
async function letRead({ name }: Topic<Tick, Tick>): Promise<void> {
  for (const each of [name, `_${name}.g.retry`]) await give("TOPIC", each, "READ");
  await give("GROUP", `g.${name}`, "READ");
}

describe.skipIf(secured === undefined)("rights", () => {
  test("no right to write: FORBIDDEN, naming the topic; what is sent beside it to others arrives", async () => {
    const [open1, closed] = await make(named("open"), named("closed"));
    await give("TOPIC", open1.name, "WRITE");
    await give("TOPIC", closed.name, "DESCRIBE");
    const bus = await open("user", { provision: "assume" });
    const began = performance.now();
    const results = await Promise.allSettled(
      Array.from({ length: 40 }, (_, n) => bus.publish(n % 2 ? closed : open1, { n }, { deadline: 9_000 })),
    );
    expect(performance.now() - began).toBeLessThan(10_000);
    const refusal = { code: "FORBIDDEN", message: expect.stringContaining(`"${closed.name}"`) };
    const [allowed, forbidden] = [0, 1].map((rest) => results.filter((_, n) => n % 2 === rest));
    expect(allowed).toEqual(Array.from({ length: 20 }, () => ({ status: "fulfilled", value: expect.anything() })));
    const rejected = { status: "rejected", reason: expect.objectContaining(refusal) };
    expect(forbidden).toEqual(Array.from({ length: 20 }, () => rejected));
    await bus.publish(open1, { n: 41 });
  });

  test("no right to create: FORBIDDEN, naming the topic and the right; topics that exist are not touched by it", async () => {
    const missing = named("missing");
    const [there] = await make(named("there"));
    await give("TOPIC", missing.name, "DESCRIBE");
    await give("TOPIC", there.name, "WRITE");
    for (const each of [missing, there]) await give("TOPIC", `_${each.name}.g.retry`, "DESCRIBE");
    for (const each of [missing, there]) await give("TOPIC", `_${each.name}.g.dlq`, "DESCRIBE");
    await give("GROUP", `g.${there.name}`, "READ");
    await letSeeDelays();
    const bus = await open("user");
    await expect(bus.publish(missing, { n: 1 }, { deadline: 9_000 })).rejects.toMatchObject({
      code: "FORBIDDEN",
      outcome: "not-stored",
      message: expect.stringMatching(new RegExp(`"${missing.name}".*grant Create`)),
    });
    await bus.publish(there, { n: 1 }, { deadline: 9_000 });
  });

  test("no right to the group: FORBIDDEN, naming group and topic, within ten seconds; with it the subscription opens", async () => {
    const [orders] = await make(named("orders"));
    for (const each of [orders.name, `_${orders.name}.g.retry`]) await give("TOPIC", each, "READ");
    const bus = await open("user", { provision: "assume" });
    const began = performance.now();
    const failure = await bus.subscribe(orders, { group: "g" }, () => {}).catch((error: unknown) => error);
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(failure).toMatchObject({ code: "FORBIDDEN" });
    expect(String(failure)).toContain(`group "g.${orders.name}" of "${orders.name}"`);
    await give("GROUP", `g.${orders.name}`, "READ");
    const got = Promise.withResolvers<number>();
    await bus.subscribe(orders, { group: "g" }, async ({ n }) => got.resolve(n));
    expect(await got.promise).toBe(0);
  });

  test(
    "a right that is taken away while a subscription runs stops that one, by name; given back, it goes on",
    { timeout: 180_000 },
    async () => {
      const [orders, bills] = await make(named("orders"), named("bills"));
      for (const each of [orders, bills]) await letRead(each);
      const bus = await open("user", { provision: "assume" });
      const seen = { orders: [] as number[], bills: [] as number[] };
      await bus.subscribe(orders, { group: "g" }, ({ n }) => void seen.orders.push(n));
      await bus.subscribe(bills, { group: "g" }, ({ n }) => void seen.bills.push(n));
      const writer = await open("anybody");
      await vi.waitFor(() => expect(seen).toEqual({ orders: [0], bills: [0] }), patience);
      await take("TOPIC", orders.name, "READ");
      const state = () => bus.health().subscriptions.find(({ topics }) => topics.includes(orders.name));
      await writer.publish(orders, { n: 1 });
      await writer.publish(bills, { n: 1 });
      await vi.waitFor(() => expect(seen.bills).toEqual([0, 1]), patience);
      await vi.waitFor(
        () =>
          expect(state()?.error).toMatchObject({
            code: "FORBIDDEN",
            message: expect.stringContaining(`"${orders.name}"`),
          }),
        patience,
      );
      await writer.publish(bills, { n: 2 });
      await vi.waitFor(() => expect(seen.bills).toEqual([0, 1, 2]), patience);
      await give("TOPIC", orders.name, "READ");
      // What it could not commit without the right comes again.
      await vi.waitFor(() => expect([...new Set(seen.orders)]).toEqual([0, 1]), patience);
    },
  );
});
