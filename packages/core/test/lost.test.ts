import { isSluiceError, topic, UnavailableError } from "@sluice/core";
import { expect, test } from "vitest";
import { gate } from "./support/bench.ts";
import { faultyBench } from "./support/faulty-bench.ts";

const plain = topic("plain", { groups: ["work"] });
const keyed = topic("keyed", { key: (payload: { readonly key: string }) => payload.key, shards: 1, groups: ["work"] });

test("a lost lease aborts the signal with its reason; the message is never settled by us and runs again", async () => {
  const { bus, clock, faulty, fates } = await faultyBench();
  const first = gate();
  const reasons: unknown[] = [];
  let runs = 0;
  const subscription = await clock.run(
    bus.subscribe(plain, { group: "work" }, (_payload, context) => {
      context.signal.addEventListener("abort", () => reasons.push(context.signal.reason));
      return ++runs === 1 ? first.opened : undefined;
    }),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  faulty.revokeAll();
  expect(isSluiceError(reasons[0], "LEASE_LOST")).toBe(true);
  await clock.settle();
  expect(runs).toBe(2);
  first.open();
  await clock.settle();
  expect(fates.map(({ fate }) => fate)).toEqual(["lost", "done"]);
  expect(faulty.wrong).toEqual([]);
  expect(subscription.health()).toMatchObject({ held: 0, counters: { lost: 1, done: 1 } });
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("the lane of a lost message stays closed until its old run has ended", async () => {
  const { bus, clock, faulty } = await faultyBench();
  const first = gate();
  const seen: string[] = [];
  await clock.run(
    bus.subscribe(keyed, { group: "work" }, (_payload, context) => {
      seen.push(context.message.id);
      return seen.length === 1 ? first.opened : undefined;
    }),
  );
  for (const id of ["a1", "a2"]) await clock.run(bus.publish(keyed, { key: "a" }, { id }));
  await clock.settle();
  faulty.kill();
  await clock.advance(10_000);
  expect(seen).toEqual(["a1"]);
  first.open();
  await clock.settle();
  expect(seen).toEqual(["a1", "a1", "a2"]);
  await clock.run(bus.close());
});

test("when a whole lane is lost between two runs of its first message, none of it starts", async () => {
  const { bus, clock, faulty } = await faultyBench();
  const seen: string[] = [];
  await clock.run(
    bus.subscribe(keyed, { group: "work", retry: { firstDelay: "10m", maxDelay: "10m" } }, (_payload, context) => {
      seen.push(context.message.id);
      throw new Error("not yet");
    }),
  );
  for (const id of ["a1", "a2"]) await clock.run(bus.publish(keyed, { key: "a" }, { id }));
  await clock.settle();
  faulty.kill();
  expect(seen).toEqual(["a1"]);
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("a message that is lost while its receive is still under way never starts", async () => {
  const { bus, clock, faulty } = await faultyBench();
  const aborted: boolean[] = [];
  await clock.run(
    bus.subscribe(plain, { group: "work" }, (_payload, context) => void aborted.push(context.signal.aborted)),
  );
  faulty.faults = { ...faulty.faults, slow: 1 };
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  faulty.revokeAll();
  await clock.advance(10_000);
  expect(aborted).toEqual([false]);
  await clock.run(bus.close());
});

test("a message that left while delivery middleware waited does not start its handler", async () => {
  const { bus, clock, faulty } = await faultyBench();
  const slow = gate();
  const log: string[] = [];
  await clock.run(
    bus.subscribe(
      plain,
      {
        group: "work",
        middleware: {
          delivery: [
            async (_context, next) => {
              log.push("in");
              if (log.length === 1) await slow.opened;
              return next().catch((error: unknown) => {
                log.push(isSluiceError(error) ? error.code : "other");
                throw error;
              });
            },
          ],
        },
      },
      () => void log.push("handler"),
    ),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  faulty.revokeAll();
  await clock.settle();
  expect(log).toEqual(["in", "in", "handler"]);
  slow.open();
  await clock.settle();
  expect(log).toEqual(["in", "in", "handler", "LEASE_LOST"]);
  await clock.run(bus.close());
});

test("a renewal that hangs does not cost the other leases", async () => {
  const { bus, clock, faulty } = await faultyBench({ leaseMs: 3000 });
  let runs = 0;
  const run = gate();
  await clock.run(
    bus.subscribe(plain, { group: "work" }, () => {
      runs++;
      return run.opened;
    }),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  const [receiver] = faulty.receivers;
  const extend = receiver?.extend.bind(receiver);
  let calls = 0;
  if (receiver && extend) {
    receiver.extend = (deliveries, ms) => (++calls === 1 ? new Promise(() => {}) : extend(deliveries, ms));
  }
  await clock.advance(20_000);
  expect(runs).toBe(1);
  run.open();
  await clock.run(bus.close());
});

test("an outage whose messages are all lost is over: what comes next runs", async () => {
  const { bus, clock, faulty } = await faultyBench();
  let down = true;
  const done: string[] = [];
  const subscription = await clock.run(
    bus.subscribe(plain, { group: "work" }, (_payload, context) => {
      if (down) throw new UnavailableError("database");
      done.push(context.message.id);
    }),
  );
  await clock.run(bus.publish(plain, 1, { id: "m1" }));
  await clock.settle();
  expect(subscription.health().state).toBe("outage");
  down = false;
  faulty.revokeAll();
  await clock.advance(60_000);
  expect(done).toEqual(["m1"]);
  await clock.run(bus.close());
});

test("ordered: a probe that never ends does not keep the other keys from running", async () => {
  const { bus, clock } = await faultyBench();
  const done: string[] = [];
  let runs = 0;
  await clock.run(
    bus.subscribe(keyed, { group: "work", timeout: "1s" }, ({ key }) => {
      if (key === "a" && ++runs === 1) throw new UnavailableError("database");
      if (key === "a") return new Promise<void>(() => {});
      done.push(key);
      return undefined;
    }),
  );
  await clock.run(bus.publish(keyed, { key: "a" }));
  await clock.settle();
  await clock.run(bus.publish(keyed, { key: "b" }));
  await clock.advance(60_000);
  expect(done).toEqual(["b"]);
  await clock.run(bus.close());
});

test("an expired message does not open the lane of those before it", async () => {
  const { bus, clock, broker } = await faultyBench();
  const first = gate();
  const seen: string[] = [];
  const subscription = await clock.run(
    bus.subscribe(keyed, { group: "work" }, (_payload, context) => {
      seen.push(context.message.id);
      return seen.length === 1 ? first.opened : undefined;
    }),
  );
  await clock.run(bus.publish(keyed, { key: "a" }, { id: "a1" }));
  await clock.settle();
  const body = new TextEncoder().encode('{"key":"a"}');
  broker.publish("keyed", { id: "a2", key: "a", body, headers: { "sluice-expires-at": "1" } });
  await clock.settle();
  await clock.run(bus.publish(keyed, { key: "a" }, { id: "a3" }));
  await clock.settle();
  expect(seen).toEqual(["a1"]);
  first.open();
  await clock.settle();
  expect(seen).toEqual(["a1", "a3"]);
  expect(subscription.health().counters).toMatchObject({ done: 2, dropped: 1 });
  await clock.run(bus.close());
});
