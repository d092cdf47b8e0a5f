import { connect, events, isSluiceError, PermanentError, SluiceError, topic, UnavailableError } from "@sluice/core";
import { type Connection, type Driver, DriverError, type Receiver } from "@sluice/core/driver";
import { memory, MemoryBroker, simulation } from "@sluice/memory";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { expect, test } from "vitest";
import { gate } from "./support/bench.ts";
import { faultyBench } from "./support/faulty-bench.ts";

const plain = topic("plain", { groups: ["work"] });
const keyed = topic("keyed", { key: (payload: { readonly key: string }) => payload.key, shards: 1, groups: ["work"] });

/** Changes every receiver that is opened. */
function onReceiver(change: (receiver: Receiver) => void): <D extends Driver>(driver: D) => D {
  return onConnection((connection) => {
    const open = connection.receiver.bind(connection);
    connection.receiver = async (sources, options) => {
      const receiver = await open(sources, options);
      change(receiver);
      return receiver;
    };
  });
}

function onConnection(change: (connection: Connection) => void): <D extends Driver>(driver: D) => D {
  return (driver) => ({
    ...driver,
    connect: async (context: Parameters<Driver["connect"]>[0]) => {
      const connection = await driver.connect(context);
      change(connection);
      return connection;
    },
  });
}

test("a receiver that fails is opened again, with back-off while that fails too", async () => {
  const { bus, clock, faulty } = await faultyBench();
  const seen: unknown[] = [];
  const subscription = await clock.run(bus.subscribe(plain, { group: "work" }, (payload) => void seen.push(payload)));
  faulty.faults = { ...faulty.faults, open: 1 };
  faulty.kill();
  await clock.advance(60_000);
  expect(subscription.health()).toMatchObject({ state: "reconnecting", error: { code: "UNAVAILABLE" } });
  faulty.faults = { ...faulty.faults, open: 0 };
  await clock.run(bus.publish(plain, 1));
  await clock.advance(30_000);
  expect(seen).toEqual([1]);
  expect(subscription.health()).toMatchObject({ state: "live", error: undefined });
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("a connection that is lost is opened again with its topology, also when nobody asks for it", async () => {
  const clock = simulation();
  const brokers = [new MemoryBroker(), new MemoryBroker()];
  const [first, second] = brokers;
  let opened = 0;
  const driver: Driver = {
    ...memory(),
    connect: (context) => memory({ broker: brokers[Math.min(opened++, 1)] ?? new MemoryBroker() }).connect(context),
  };
  const bus = await clock.run(connect(driver, { runtime: clock.runtime }));
  await clock.run(bus.publish(plain, 1));
  first?.disconnect();
  await clock.settle();
  expect(bus.health()).toMatchObject({ status: "down", connection: "reconnecting" });
  await clock.advance(1000);
  expect(bus.health().connection).toBe("open");
  // The second broker knew nothing.
  await clock.run(bus.publish(plain, 2));
  expect(second?.depth("plain", "work").ready).toBe(1);
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("a connection that opens and dies at once is not opened in a hot loop", async () => {
  const clock = simulation();
  const broker = new MemoryBroker();
  const inner = memory({ broker });
  let opened = 0;
  const driver: Driver = {
    ...inner,
    connect: async (context) => {
      const connection = await inner.connect(context);
      if (++opened > 1) broker.disconnect();
      return connection;
    },
  };
  const bus = await clock.run(connect(driver, { runtime: clock.runtime }));
  broker.disconnect();
  await clock.advance(60_000);
  expect(opened).toBeGreaterThan(3);
  expect(opened).toBeLessThan(25);
  await clock.run(bus.close());
  expect(bus.health().connection).toBe("closed");
  expect(bus.livez().status).toBe(503);
  expect(clock.timers).toBe(0);
});

test("a connection that comes after the bus was closed is closed", async () => {
  const clock = simulation();
  const broker = new MemoryBroker();
  const inner = memory({ broker });
  const late = gate();
  let opened = 0;
  const live: Connection[] = [];
  const driver: Driver = {
    ...inner,
    connect: async (context) => {
      if (++opened > 1) await late.opened;
      const connection = await inner.connect({ ...context, signal: new AbortController().signal });
      live.push(connection);
      return connection;
    },
  };
  const bus = await clock.run(connect(driver, { runtime: clock.runtime }));
  broker.disconnect();
  await clock.advance(1000);
  await clock.run(bus.close());
  late.open();
  await clock.settle();
  expect(live.length).toBe(2);
  await expect(clock.run(live[1]?.closed ?? Promise.reject(new Error("none")))).resolves.toBeUndefined();
  expect(bus.health().connection).toBe("closed");
  expect(clock.timers).toBe(0);
});

test("a reason that is final is seen in health while it is tried again", async () => {
  let refuse = false;
  const wrap = onConnection((connection) => {
    const provision = connection.provision.bind(connection);
    connection.provision = async (resources, mode, signal) => {
      if (!refuse) return provision(resources, mode, signal);
      return resources.map((resource) => ({ resource, state: "forbidden" as const, detail: "no right" }));
    };
  });
  const { bus, clock, broker } = await faultyBench({ wrap });
  const subscription = await clock.run(bus.subscribe(plain, { group: "work" }, () => {}));
  refuse = true;
  broker.disconnect();
  await clock.advance(5000);
  expect(subscription.health()).toMatchObject({ state: "reconnecting", error: { code: "FORBIDDEN" } });
  refuse = false;
  await clock.advance(60_000);
  expect(subscription.health().state).toBe("live");
  await clock.run(bus.close());
});

test("a receive that throws against its contract says why, and another receiver goes on", async () => {
  let thrown = 0;
  const wrap = onReceiver((receiver) => {
    const receive = receiver.receive.bind(receiver);
    receiver.receive = (max, signal) =>
      thrown++ === 0 ? Promise.reject(new DriverError("UNKNOWN", "memory: a bug of the driver")) : receive(max, signal);
  });
  const { bus, clock } = await faultyBench({ wrap });
  const errors: unknown[] = [];
  const note = (event: unknown): void => {
    const { what, error } = event as { what: string; error: unknown };
    if (what === "subscription" && error !== undefined) errors.push(error);
  };
  subscribe(events.state.name, note);
  const seen: unknown[] = [];
  await clock.run(bus.subscribe(plain, { group: "work" }, (payload) => void seen.push(payload)));
  await clock.run(bus.publish(plain, 1));
  await clock.advance(10_000);
  unsubscribe(events.state.name, note);
  expect(errors).toMatchObject([{ message: "memory: a bug of the driver" }]);
  expect(seen).toEqual([1]);
  await clock.run(bus.close());
});

test("a broken receiver whose close hangs is left behind", async () => {
  let hang = true;
  const wrap = onReceiver((receiver) => {
    const close = receiver.close.bind(receiver);
    receiver.close = (signal) => (hang ? new Promise(() => {}) : close(signal));
  });
  const { bus, clock, faulty } = await faultyBench({ wrap });
  const seen: unknown[] = [];
  await clock.run(bus.subscribe(plain, { group: "work" }, (payload) => void seen.push(payload)));
  faulty.kill();
  await clock.run(bus.publish(plain, 1));
  await clock.advance(20_000);
  expect(seen).toEqual([1]);
  hang = false;
  await clock.run(bus.close());
});

test("drain while reconnecting does not wait for the broker", async () => {
  const { bus, clock, broker } = await faultyBench();
  const subscription = await clock.run(bus.subscribe(plain, { group: "work" }, () => {}));
  broker.outage();
  await clock.advance(10_000);
  await clock.run(subscription.drain(), 100);
  expect(subscription.health().state).toBe("closed");
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("drain during an outage gives everything back, also what fails meanwhile, and leaves no timer", async () => {
  const { bus, clock, broker } = await faultyBench();
  const probe = gate();
  let runs = 0;
  await clock.run(
    bus.subscribe(plain, { group: "work", concurrency: 1 }, async () => {
      if (++runs > 1) await probe.opened;
      throw new UnavailableError("database");
    }),
  );
  for (let n = 0; n < 3; n++) await clock.run(bus.publish(plain, n));
  await clock.advance(5000);
  expect(runs).toBe(2);
  const draining = bus.drain();
  await clock.advance(1000);
  probe.open();
  await clock.run(draining, 1000);
  expect(clock.timers).toBe(0);
  expect(broker.depth("plain", "work")).toMatchObject({ ready: 3, inFlight: 0, delayed: 0 });
  expect(runs).toBe(2);
});

test("what fails during a drain goes to the own entry with its attempts", async () => {
  const { bus, clock, broker } = await faultyBench();
  const run = gate();
  const subscription = await clock.run(bus.subscribe(plain, { group: "work" }, () => run.opened));
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  const draining = subscription.drain({ deadline: "20s" });
  await clock.advance(1000);
  expect(subscription.health().state).toBe("draining");
  run.fail(new Error("now"));
  await clock.run(draining, 100);
  expect(broker.waiting("plain", "work").map(({ headers }) => headers["sluice-attempts"])).toEqual(["1"]);
  await clock.run(bus.close());
});

test("drain waits for handlers whose receiver has failed", async () => {
  const { bus, clock, faulty } = await faultyBench();
  const run = gate();
  const subscription = await clock.run(bus.subscribe(plain, { group: "work" }, () => run.opened));
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  faulty.faults = { ...faulty.faults, open: 1 };
  faulty.kill();
  await clock.settle();
  const draining = subscription.drain({ deadline: "20s" });
  await clock.advance(10_000);
  expect(subscription.health().state).toBe("draining");
  run.open();
  await clock.run(draining, 1000);
  expect(subscription.health().state).toBe("closed");
  await clock.run(bus.close());
});

test("a settlement that is never answered does not hold up the end of a drain", async () => {
  let hang = true;
  const wrap = onReceiver((receiver) => {
    const settle = receiver.settle.bind(receiver);
    receiver.settle = (settlements) => (hang ? new Promise(() => {}) : settle(settlements));
  });
  const { bus, clock } = await faultyBench({ wrap });
  const subscription = await clock.run(bus.subscribe(plain, { group: "work" }, () => {}));
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  await clock.run(subscription.drain({ deadline: "5s" }), 10_000);
  hang = false;
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("what a receive brings during a drain goes back at once", async () => {
  const late = gate();
  let hold = false;
  const wrap = onReceiver((receiver) => {
    const receive = receiver.receive.bind(receiver);
    receiver.receive = async (max, signal) => {
      const deliveries = await receive(max, signal);
      if (hold) await late.opened;
      return deliveries;
    };
  });
  const { bus, clock, broker } = await faultyBench({ wrap });
  const run = gate();
  const started: unknown[] = [];
  const subscription = await clock.run(
    bus.subscribe(plain, { group: "work" }, (payload) => {
      started.push(payload);
      return run.opened;
    }),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  hold = true;
  await clock.run(bus.publish(plain, 2));
  await clock.settle();
  const draining = subscription.drain({ deadline: "20s" });
  late.open();
  await clock.settle();
  expect(started).toEqual([1]);
  expect(broker.depth("plain", "work")).toMatchObject({ ready: 1, inFlight: 1 });
  run.open();
  await clock.run(draining);
  await clock.run(bus.close());
});

test("a bus that closes while a subscription opens: the call fails with CLOSED, and nothing is left", async () => {
  const { bus, clock, faulty } = await faultyBench();
  faulty.faults = { ...faulty.faults, slow: 1 };
  const opening = bus.subscribe(plain, { group: "work" }, () => {}).catch((error: unknown) => error);
  const closing = bus.close();
  expect(isSluiceError(await clock.run(opening), "CLOSED")).toBe(true);
  await clock.run(closing);
  expect(bus.health().subscriptions).toEqual([]);
  expect(clock.timers).toBe(0);
  await expect(bus.subscribe(plain, { group: "work" }, () => {})).rejects.toMatchObject({ code: "CLOSED" });
});

test("a subscription that cannot be opened leaves nothing behind", async () => {
  const { bus, clock, faulty, broker } = await faultyBench();
  faulty.faults = { ...faulty.faults, open: 1 };
  await expect(clock.run(bus.subscribe(plain, { group: "work" }, () => {}))).rejects.toMatchObject({
    code: "UNAVAILABLE",
  });
  faulty.faults = { ...faulty.faults, open: 0 };
  expect(bus.health().subscriptions).toEqual([]);
  await clock.run(bus.subscribe(keyed, { group: "work" }, () => {}));
  const wrong = topic("keyed", { key: () => "k", shards: 4, groups: ["work"] });
  await expect(clock.run(bus.subscribe(wrong, { group: "other" }, () => {}))).rejects.toMatchObject({ code: "CONFIG" });
  expect(bus.health().subscriptions.length).toBe(1);
  expect(broker.topics().get("keyed")).toEqual(["work"]);
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("ordered retries that can wait longer than the broker lets us hold a message are refused", async () => {
  const wrap = onReceiver((receiver) => {
    Object.defineProperty(receiver, "lease", { value: { ms: 30_000, renew: false, holdMs: 60_000 } });
  });
  const { bus, clock } = await faultyBench({ wrap });
  const retry = { attempts: 4, firstDelay: "30s", maxDelay: "30s" } as const;
  await expect(clock.run(bus.subscribe(keyed, { group: "work", retry }, () => {}))).rejects.toThrow(
    "can wait 90000 ms in all, and the broker lets an ordered message be held for 60000 ms",
  );
  expect(bus.health().subscriptions).toEqual([]);
  await clock.run(bus.subscribe(plain, { group: "work", retry }, () => {}));
  await clock.run(bus.close());
});

test("a signal ends a subscription, also while it opens", async () => {
  const { bus, clock, faulty } = await faultyBench();
  const controller = new AbortController();
  const subscription = await clock.run(bus.subscribe(plain, { group: "work", signal: controller.signal }, () => {}));
  controller.abort();
  expect(await clock.run(subscription.closed)).toBeUndefined();
  faulty.faults = { ...faulty.faults, open: 1 };
  const early = new AbortController();
  const opening = bus
    .subscribe(plain, { group: "work", signal: early.signal }, () => {})
    .catch((error: unknown) => error);
  await clock.advance(100);
  early.abort();
  expect(await clock.run(opening, 5000)).toBeInstanceOf(SluiceError);
  expect(bus.health().subscriptions).toEqual([]);
  await clock.run(Promise.all([bus.close(), bus.close(), subscription.close()]));
  expect(clock.timers).toBe(0);
});

test("a driver with waiting places: the bus closes while its forwarder still opens", async () => {
  const wrap = <D extends Driver>(driver: D): D => {
    const capabilities = { ...driver.capabilities, delay: { group: "forwarder", topic: "forwarder" } };
    const inner = onConnection((connection) => {
      Object.assign(connection, { capabilities });
      const open = connection.receiver.bind(connection);
      connection.receiver = (sources, options) =>
        sources.some((source) => "delayed" in source)
          ? Promise.reject(new DriverError("UNAVAILABLE", "not yet"))
          : open(sources, options);
    })(driver);
    return { ...inner, capabilities };
  };
  const { bus, clock } = await faultyBench({ wrap });
  await clock.run(bus.subscribe(plain, { group: "work" }, () => {}));
  await clock.advance(1000);
  await clock.run(bus.close(), 100);
  expect(clock.timers).toBe(0);
});

test("a group keeps its start when somebody publishes or looks at its dead letters", async () => {
  const { bus, clock } = await faultyBench();
  await clock.run(
    bus.subscribe(plain, { group: "work", start: "earliest" }, () => {
      throw new PermanentError("x");
    }),
  );
  await clock.run(bus.publish(plain, 1));
  bus.deadLetters(plain, { group: "work" });
  const group = bus.plan([plain]).resources.find(({ kind }) => kind === "group");
  expect(group?.settings["start"]).toBe("earliest");
  await clock.run(bus.close());
});
