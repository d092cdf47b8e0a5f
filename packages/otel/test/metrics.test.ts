import { type AttemptMiddleware, events } from "@sluice/core";
import type { Connection } from "@sluice/core/driver";
import { memory, MemoryBroker } from "@sluice/memory";
import { expect, test } from "vitest";
import { bench, Orders } from "./support/bench.ts";
import { type Point, registerSdk } from "./support/sdk.ts";

const sdk = registerSdk({ withMetrics: true });

const order = { orderId: "o-1" };
const system = { "messaging.system.name": "sluice.memory" };

/** Each test has a group of its own, since the SDK is the process's. */
function handled(group: string): object {
  return {
    ...system,
    "messaging.operation.name": "process",
    "messaging.destination.name": "orders",
    "messaging.consumer.group.name": group,
  };
}

async function points(name: string, group?: string): Promise<readonly Point[]> {
  const all = (await sdk.points())[name] ?? [];
  if (group === undefined) return all;
  return all.filter(({ attributes }) => Reflect.get(attributes, "messaging.consumer.group.name") === group);
}

test("sent, consumed, durations, retries, dead letters, in flight", async () => {
  const { bus, clock } = await bench();
  let broken = true;
  const retry = { attempts: 3, firstDelay: 1 };
  await clock.run(
    bus.subscribe(Orders, { group: "billing", retry }, () => {
      if (broken) throw new TypeError("no such customer");
    }),
  );
  await clock.run(bus.publish(Orders, order));
  await clock.advance(60_000);
  broken = false;
  await clock.run(bus.publish(Orders, order));
  await expect(clock.run(bus.publish(Orders, order, { headers: { "": "" } }))).rejects.toThrow("header name");
  await clock.run(bus.close());
  const sent = { ...system, "messaging.operation.name": "send", "messaging.destination.name": "orders" };
  const refused = { ...sent, "error.type": "INVALID_MESSAGE" };
  expect(await points("messaging.client.sent.messages")).toEqual([
    { value: 2, attributes: sent },
    { value: 1, attributes: refused },
  ]);
  const type = { "messaging.operation.type": "send" };
  expect(await points("messaging.client.operation.duration")).toMatchObject([
    { value: { count: 2 }, attributes: { ...sent, ...type } },
    { value: { count: 1 }, attributes: { ...refused, ...type } },
  ]);
  const attributes = handled("billing");
  expect(await points("messaging.client.consumed.messages")).toEqual([{ value: 2, attributes }]);
  expect(await points("messaging.process.duration")).toMatchObject([
    { value: { count: 3 }, attributes: { ...attributes, "error.type": "TypeError" } },
    { value: { count: 1 }, attributes },
  ]);
  expect(await points("sluice.consumer.retries")).toEqual([{ value: 2, attributes }]);
  const reason = { "sluice.dead_letter.reason": "exhausted" };
  const letters = await points("sluice.consumer.dead_letters", "billing");
  expect(letters).toContainEqual({ value: 1, attributes: { ...attributes, ...reason } });
  // Every reason is there before it happens: a rate needs a beginning.
  expect(letters.map(({ value }) => Number(value)).toSorted((one, other) => one - other)).toEqual([0, 0, 0, 0, 1]);
  expect(await points("sluice.consumer.in_flight")).toEqual([{ value: 0, attributes }]);
});

test("durations are in seconds, by the bus's clock, with the conventions' buckets", async () => {
  const { bus, clock } = await bench();
  const opened = Promise.withResolvers<void>();
  await clock.run(bus.subscribe(Orders, { group: "slow" }, () => opened.promise));
  await clock.run(bus.publish(Orders, order));
  expect(await points("sluice.consumer.in_flight", "slow")).toMatchObject([{ value: 1 }]);
  await clock.advance(3000);
  opened.resolve();
  await clock.run(bus.close());
  const [point] = await points("messaging.process.duration", "slow");
  expect(point?.value).toMatchObject({
    sum: 3,
    buckets: { boundaries: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] },
  });
});

test("a batch is one duration, and counts its messages", async () => {
  const { bus, clock } = await bench();
  await clock.run(bus.subscribeBatch(Orders, { group: "batches", batch: { size: 3 } }, () => undefined));
  await clock.run(bus.producer(Orders).sendBatch([{ payload: order }, { payload: order }, { payload: order }]));
  await clock.run(bus.close());
  expect(await points("messaging.client.consumed.messages", "batches")).toMatchObject([{ value: 3 }]);
  expect(await points("messaging.process.duration", "batches")).toMatchObject([{ value: { count: 1 } }]);
});

test("backlog and oldest age come from the broker, at most every so often; what is gone is not reported", async () => {
  const plain = memory({ broker: new MemoryBroker() });
  let asked = 0;
  const counting = {
    ...plain,
    connect: async (...given: Parameters<typeof plain.connect>): Promise<Connection> => {
      const connection = await plain.connect(...given);
      return new Proxy(connection, {
        get: (target, name) => {
          if (name === "backlog") asked++;
          const value: unknown = Reflect.get(target, name);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    },
  };
  const { bus, clock } = await bench({ backlogEvery: "30s" }, {}, counting);
  const subscription = await clock.run(bus.subscribe(Orders, { group: "idle" }, () => undefined));
  subscription.pause();
  await clock.run(bus.publish(Orders, order));
  await clock.advance(20_000);
  const first = await points("sluice.consumer.backlog", "idle");
  expect(first.map(({ value, attributes }) => [Reflect.get(attributes, "sluice.backlog.state"), value])).toContainEqual(
    ["in_flight", 1],
  );
  await points("sluice.consumer.backlog");
  expect(asked).toBe(1);
  await clock.advance(30_000);
  await points("sluice.consumer.backlog");
  expect(asked).toBe(2);
  await clock.run(bus.close());
  const [later] = await points("sluice.consumer.backlog", "idle");
  await clock.advance(60_000);
  expect(later).toBeDefined();
  await points("sluice.consumer.backlog");
  expect(asked).toBe(2);
});

test("messages that go to another holder are counted", async () => {
  const broker = new MemoryBroker();
  const { bus, clock } = await bench({}, {}, memory({ broker }));
  const handled: number[] = [];
  await clock.run(
    bus.subscribe(Orders, { group: "leases" }, async ({ orderId }, context) => {
      handled.push(handled.length);
      if (handled.length > 1) return;
      broker.disconnect();
      await new Promise((resolve) => context.signal.addEventListener("abort", resolve, { once: true }));
      expect(orderId).toBe("o-1");
    }),
  );
  await clock.run(bus.publish(Orders, order));
  await clock.until(() => handled.length > 1);
  await clock.run(bus.close());
  expect(await points("sluice.consumer.lost", "leases")).toMatchObject([{ value: 1 }]);
});

test("what a deduplicating middleware recognises is counted, once, on the bus that it is on", async () => {
  const attempt: AttemptMiddleware = async (context, next) => {
    if (context.message.headers["again"] === undefined) return next();
    const { message, group } = context;
    events.duplicate.publish({ topic: message.topic, group, id: message.id, context });
  };
  const two = await Promise.all(
    ["first", "second"].map(async (group) => {
      const broker = await bench({}, {}, memory({ broker: new MemoryBroker() }));
      const subscription = { group, middleware: { attempt: [attempt] } };
      await broker.clock.run(broker.bus.subscribe(Orders, subscription, () => undefined));
      return broker;
    }),
  );
  for (const { bus, clock } of two.slice(0, 1)) {
    await clock.run(bus.publish(Orders, order));
    await clock.run(bus.publish(Orders, order, { headers: { again: "yes" } }));
  }
  for (const { bus, clock } of two) await clock.run(bus.close());
  expect(await points("sluice.consumer.duplicates", "first")).toMatchObject([{ value: 1 }]);
  expect(await points("sluice.consumer.duplicates", "second")).toMatchObject([{ value: 0 }]);
  // Its bus is closed: nobody listens any more.
  expect(events.duplicate.hasSubscribers).toBe(false);
});

test("more names than `most` are counted without names", async () => {
  const { bus, clock } = await bench({ most: 1 });
  await clock.run(bus.subscribe(Orders, { group: "one-too-many" }, () => undefined));
  await clock.run(bus.subscribe(Orders, { group: "two-too-many" }, () => undefined));
  await clock.run(bus.publish(Orders, order));
  await clock.run(bus.close());
  expect(await points("messaging.client.consumed.messages", "two-too-many")).toEqual([]);
  const all = await points("messaging.client.consumed.messages");
  expect(all).toContainEqual({ value: 1, attributes: { ...system, "messaging.operation.name": "process" } });
});
