import { connect, plan, topic } from "@sluice/core";
import type { Capabilities, Connection, Driver, Resource } from "@sluice/core/driver";
import { memory, simulation } from "@sluice/memory";
import { expect, test } from "vitest";

const orders = topic("orders", { groups: ["billing"] });

/** The memory driver with some members replaced: what it has no reason to do itself. */
function altered(
  change: Partial<Driver>,
  onConnection: (connection: Connection) => Connection = (same) => same,
): Driver {
  const inner: Driver = memory();
  return {
    ...change,
    name: "altered",
    system: inner.system,
    capabilities: change.capabilities ?? inner.capabilities,
    topology: change.topology ?? ((declaration) => inner.topology(declaration)),
    connect: async (context) => onConnection(await inner.connect(context)),
  };
}

function shouting(declaration: Parameters<Driver["topology"]>[0]): readonly Resource[] {
  return declaration.topics.flatMap(({ name, groups }): Resource[] => [
    { kind: "topic", name: name.toUpperCase(), settings: {}, actions: { publish: ["write"], provision: ["create"] } },
    { kind: "place", name: "waiting", settings: {}, shared: true },
    ...groups.map((group) => ({
      kind: "queue",
      name: `${name}.${group.name}`.toUpperCase(),
      settings: {},
      actions: { consume: ["read"], provision: ["create"] },
    })),
  ]);
}

test("a plan needs no broker, and tells every role what it must be allowed to do", () => {
  const { resources, permissions } = plan(altered({ topology: shouting }), [orders]);
  expect(resources.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
    "topic ORDERS",
    "place waiting",
    "queue ORDERS.BILLING",
  ]);
  expect(permissions).toEqual({
    provision: [
      { kind: "topic", name: "ORDERS", actions: ["create"] },
      { kind: "queue", name: "ORDERS.BILLING", actions: ["create"] },
    ],
    publish: [{ kind: "topic", name: "ORDERS", actions: ["write"] }],
    consume: [{ kind: "queue", name: "ORDERS.BILLING", actions: ["read"] }],
  });
});

test.each([
  [[topic("orders"), topic("Orders")], 'topic "orders" and topic "Orders"'],
  [[topic("a", { groups: ["b", "B"] })], 'topic "a", group "b" and topic "a", group "B"'],
  [
    [topic("a", { groups: ["b.c"] }), topic("a.b", { groups: ["c"] })],
    'topic "a", group "b.c" and topic "a.b", group "c"',
  ],
])("two things that would share a name are refused (%#)", async (topics, both) => {
  const driver = altered({ topology: shouting });
  expect(() => plan(driver, topics)).toThrow(both);
  const bus = await connect(altered({ topology: shouting }, silent), { runtime: simulation().runtime });
  const published = await Promise.allSettled(topics.map((each) => bus.publish(each, 1)));
  const codes = published.map((result) =>
    result.status === "rejected" ? (result.reason as { code: string }).code : "",
  );
  expect(codes).toContain("CONFIG");
});

/** Provisions nothing, whatever it is asked. */
function silent(connection: Connection): Connection {
  return new Proxy(connection, {
    get(target, name) {
      if (name === "provision") return () => Promise.resolve([]);
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

test("compare reads the broker and changes nothing", async () => {
  const clock = simulation();
  const bus = await connect(memory(), { runtime: clock.runtime });
  const before = await clock.run(bus.compare([orders]));
  expect(before.every(({ state }) => state === "missing")).toBe(true);
  expect(before.length).toBe(bus.plan([orders]).resources.length);
  expect(bus.plan().resources).toEqual([]);
  await clock.run(bus.provision([orders]));
  const after = await clock.run(bus.compare([orders]));
  expect(after.map(({ state }) => state)).toEqual(before.map(() => "ok"));
  await clock.run(bus.close());
});

test("a broker that keeps no log refuses a seek, and says what to do instead", async () => {
  const bus = await connect(memory(), { runtime: simulation().runtime });
  const refusal = { code: "UNSUPPORTED", message: expect.stringContaining("redrive") as string };
  await expect(bus.seek(orders, { group: "billing", to: "earliest" })).rejects.toMatchObject(refusal);
});

test("a seek reaches the driver with a time in milliseconds; a wrong date does not", async () => {
  const clock = simulation();
  const asked: unknown[] = [];
  const seeking = (connection: Connection): Connection =>
    Object.assign(connection, {
      seek: (source: unknown, to: unknown) => {
        asked.push([source, to]);
        return Promise.resolve();
      },
    });
  const capabilities: Capabilities = { ...memory().capabilities, seek: "native" };
  const bus = await connect(altered({ capabilities }, seeking), { runtime: clock.runtime });
  await clock.run(bus.seek(orders, { group: "billing", to: new Date(5000) }));
  expect(asked).toEqual([[{ topic: "orders", group: "billing", start: "now" }, { time: 5000 }]]);
  await expect(bus.seek(orders, { group: "billing", to: new Date("x") })).rejects.toMatchObject({ code: "CONFIG" });
});

test("a driver that declares seek and has none is told on, not believed", async () => {
  const clock = simulation();
  const capabilities: Capabilities = { ...memory().capabilities, seek: "native" };
  const bus = await connect(altered({ capabilities }), { runtime: clock.runtime });
  const moving = clock.run(bus.seek(orders, { group: "billing", to: "now" }));
  await expect(moving).rejects.toMatchObject({ code: "UNSUPPORTED" });
  await clock.run(bus.close());
});

test("a broker that may lose messages wants to be told that this is meant", async () => {
  const clock = simulation();
  const capabilities: Capabilities = { ...memory().capabilities, delivery: "at-most-once" };
  const weaker = (connection: Connection): Connection =>
    new Proxy(connection, {
      get(target, name) {
        if (name === "capabilities") return capabilities;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  const bus = await connect(altered({ capabilities }, weaker), { runtime: clock.runtime });
  const refusal = { code: "UNSUPPORTED", message: expect.stringContaining("delivery: 'at-most-once'") as string };
  await expect(bus.publish(orders, 1)).rejects.toMatchObject(refusal);
  await expect(bus.subscribe(orders, { broadcast: "all" }, () => {})).rejects.toMatchObject(refusal);
  const seen: unknown[] = [];
  const meant = { delivery: "at-most-once" } as const;
  await clock.run(bus.subscribe(orders, { broadcast: "all", ...meant }, (payload) => void seen.push(payload)));
  await clock.run(bus.publish(orders, 1, meant));
  await clock.settle();
  expect(seen).toEqual([1]);
  await clock.run(bus.close());
});
