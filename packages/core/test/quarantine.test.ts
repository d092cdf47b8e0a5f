import { topic } from "@sluice/core";
import type { Driver } from "@sluice/core/driver";
import { expect, test } from "vitest";
import { gate } from "./support/bench.ts";
import { type FaultyBench, faultyBench } from "./support/faulty-bench.ts";

const plain = topic("plain", { groups: ["work"] });

/** The process dies: the broker sees its connection end, and nothing of it runs on. */
async function crash(bench: FaultyBench, clientName: string): Promise<void> {
  bench.broker.disconnect(clientName);
  await bench.clock.settle();
}

/** A process whose handler never comes back from `poison`. Everything that it starts is in `started`. */
async function start(bench: FaultyBench, poison = "poison") {
  const bus = await bench.another();
  const started: unknown[] = [];
  const subscription = await bench.clock.run(
    bus.subscribe(plain, { group: "work", concurrency: 1 }, (payload) => {
      started.push(payload);
      return payload === poison ? new Promise<void>(() => {}) : undefined;
    }),
  );
  await bench.clock.settle();
  return { bus, started, subscription };
}

async function publish(bench: FaultyBench, ...payloads: string[]): Promise<void> {
  for (const payload of payloads) await bench.clock.run(bench.bus.publish(plain, payload));
}

test.each([
  { counted: false, convictedAfter: 3 },
  { counted: true, convictedAfter: 6 },
])(
  "a message that kills its process alone is dead-lettered, its neighbours are not (returned ones counted: $counted)",
  async ({ counted, convictedAfter }) => {
    const wrap = <D extends Driver>(driver: D): D => ({
      ...driver,
      capabilities: { ...driver.capabilities, release: { order: "kept", counted } },
      connect: async (context: Parameters<Driver["connect"]>[0]) => {
        const connection = await driver.connect(context);
        return Object.assign(connection, {
          capabilities: { ...connection.capabilities, release: { order: "kept", counted } },
        });
      },
    });
    const bench = await faultyBench({ wrap, clientName: "all" });
    await publish(bench, "poison", "one", "two");
    const buses = [];
    let deaths = 0;
    for (; deaths < 10; deaths++) {
      const { bus, started } = await start(bench);
      buses.push(bus);
      await bench.clock.advance(1000);
      if (!started.includes("poison")) break;
      await crash(bench, "all");
      // A dead process opens nothing again.
      void bus.close();
      await bench.clock.settle();
    }
    expect(deaths).toBe(convictedAfter);
    await bench.clock.advance(30_000);
    const [letter, ...others] = bench.broker.deadLetters("plain", "work");
    expect(others).toEqual([]);
    expect(letter?.headers["dlq-reason"]).toBe("crash-suspect");
    expect(bench.broker.depth("plain", "work")).toMatchObject({ ready: 0, inFlight: 0 });
    await bench.clock.run(Promise.all([...buses, bench.bus].map((bus) => bus.close())));
  },
);

test("where returns count, a suspect runs alone before anything else comes, and not as a copy behind the backlog", async () => {
  const wrap = <D extends Driver>(driver: D): D => ({
    ...driver,
    capabilities: { ...driver.capabilities, release: { order: "kept", counted: true } },
    connect: async (context: Parameters<Driver["connect"]>[0]) => {
      const connection = await driver.connect(context);
      return Object.assign(connection, {
        capabilities: { ...connection.capabilities, release: { order: "kept", counted: true } },
      });
    },
  });
  const bench = await faultyBench({ wrap });
  const { clock, faulty, bus, broker } = bench;
  const hops: unknown[] = [];
  let cut = 0;
  await clock.run(
    bus.subscribe(plain, { group: "work", concurrency: 1 }, (payload, { signal, message }) => {
      if (payload !== "suspect") return;
      hops.push(message.headers["sluice-hop"]);
      if (cut === 2) return;
      return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    }),
  );
  await publish(bench, "suspect", "one", "two");
  for (; cut < 2;) {
    cut++;
    faulty.revokeAll();
    await clock.settle();
  }
  await clock.advance(1000);
  expect(hops).toEqual([undefined, undefined, undefined]);
  await clock.advance(20_000);
  expect(broker.depth("plain", "work")).toMatchObject({ ready: 0, inFlight: 0, deadLetters: 0 });
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("a process that lives is no proof: what comes back to it because its lease was lost is not convicted", async () => {
  const bench = await faultyBench();
  const { clock, faulty, broker } = bench;
  await publish(bench, "slow");
  let runs = 0;
  const subscription = await clock.run(
    bench.bus.subscribe(plain, { group: "work" }, () => (++runs < 8 ? new Promise<void>(() => {}) : undefined)),
  );
  for (let n = 0; n < 10 && runs < 8; n++) {
    await clock.advance(1000);
    faulty.revokeAll();
  }
  await clock.advance(1000);
  expect(runs).toBe(8);
  expect(broker.deadLetters("plain", "work")).toEqual([]);
  expect(subscription.health().counters.done).toBe(1);
  await clock.run(bench.bus.close());
});

test("a quarantine ends when nothing comes any more, and when enough harmless messages came", async () => {
  const bench = await faultyBench();
  const { clock, faulty } = bench;
  let broken = true;
  const { bus, subscription } = await start(bench, "none");
  subscription.pause();
  await publish(bench, "m");
  subscription.resume();
  await clock.settle();
  const slow = await clock.run(
    bus.subscribe(topic("other", { groups: ["g"] }), { group: "g" }, () =>
      broken ? new Promise<void>(() => {}) : undefined,
    ),
  );
  await clock.run(bench.bus.publish(topic("other", { groups: ["g"] }), 1));
  for (let n = 0; n < 2; n++) {
    await clock.settle();
    faulty.revokeAll();
  }
  broken = false;
  await clock.settle();
  await clock.advance(500);
  expect(slow.health().state).toBe("quarantine");
  expect(bus.health().status).toBe("degraded");
  await clock.advance(30_000);
  expect(slow.health().state).toBe("live");
  expect(slow.health().counters.done).toBe(1);
  await clock.run(Promise.all([bus.close(), bench.bus.close()]));
  expect(clock.timers).toBe(0);
});

test("a broadcast, or a group without dead letters, drops what it convicts", async () => {
  const bench = await faultyBench({ clientName: "all" });
  const { clock, broker } = bench;
  const buses = [];
  await publish(bench, "poison");
  for (let n = 0; n < 4; n++) {
    const bus = await bench.another();
    buses.push(bus);
    await clock.run(
      bus.subscribe(plain, { group: "work", deadLetter: false }, (payload) =>
        payload === "poison" ? new Promise<void>(() => {}) : undefined,
      ),
    );
    await clock.settle();
    if (n === 3) break;
    await crash(bench, "all");
    void bus.close();
    await clock.settle();
  }
  await clock.advance(10_000);
  expect(bench.fates.filter(({ fate }) => fate === "drop").map(({ reason }) => reason?.slice(0, 13))).toEqual([
    "crash-suspect",
  ]);
  expect(broker.depth("plain", "work")).toMatchObject({ ready: 0, inFlight: 0, deadLetters: 0 });
  await clock.run(Promise.all([...buses, bench.bus].map((bus) => bus.close())));
});

test("a drain that begins while everything is handed back lets the running handler finish", async () => {
  const bench = await faultyBench();
  const { clock, faulty, fates } = bench;
  const run = gate();
  let deliveries = 0;
  const subscription = await clock.run(
    bench.bus.subscribe(plain, { group: "work" }, (payload) => {
      if (payload === "long") return run.opened;
      return ++deliveries < 3 ? new Promise<void>(() => {}) : undefined;
    }),
  );
  await publish(bench, "suspect");
  await clock.settle();
  faulty.revokeAll();
  await clock.settle();
  // Its third delivery makes it a suspect; meanwhile another one runs.
  await publish(bench, "long");
  await clock.settle();
  const [receiver] = faulty.receivers;
  receiver?.revokeOnly((delivery) => new TextDecoder().decode(delivery.body ?? undefined) === '"suspect"');
  await clock.settle();
  const draining = subscription.drain({ deadline: "20s" });
  await clock.advance(5000);
  run.open();
  await clock.run(draining);
  expect(fates.filter(({ fate }) => fate === "done").length).toBe(1);
  await clock.run(bench.bus.close());
});
