import { isSluiceError, PermanentError, topic, UnavailableError } from "@sluice/core";
import { expect, test } from "vitest";
import { bench, gate } from "./support/bench.ts";

const plain = topic("plain", { groups: ["work"] });
const keyed = topic("keyed", { key: (payload: { readonly key: string }) => payload.key, shards: 2 });

test("a failed attempt is tried again here, then through the own entry, then dead-lettered", async () => {
  const { bus, clock, fates } = await bench();
  const attempts: number[] = [];
  const retry = { attempts: 4, firstDelay: 100, factor: 100, maxDelay: "1m", inPlace: 200 } as const;
  await clock.run(
    bus.subscribe(plain, { group: "work", retry }, (_payload, context) => {
      attempts.push(context.message.attempt);
      throw new Error("always");
    }),
  );
  const dead = bus.settled(plain, { fate: "dead-letter" });
  await clock.run(bus.publish(plain, 1));
  await clock.run(dead);
  expect(attempts).toEqual([1, 2, 3, 4]);
  expect(fates.map((event) => event.fate)).toEqual(["retry", "retry", "dead-letter"]);
  const [letter] = (await clock.run(bus.deadLetters(plain, { group: "work" }).list())).letters;
  expect(letter).toMatchObject({ reason: "exhausted", attempts: 4, errorMessage: "always", errorType: "Error" });
  await clock.run(bus.close());
});

test("an ordered retry never leaves its lane, and other keys flow", async () => {
  const { bus, clock } = await bench();
  const seen: string[] = [];
  let broken = true;
  await clock.run(
    bus.subscribe(keyed, { group: "work", retry: { firstDelay: "10s", maxDelay: "10s" } }, ({ key }, context) => {
      const name = `${key}${context.message.headers["n"]}`;
      if (name === "a1" && broken) throw new Error("not yet");
      seen.push(name);
    }),
  );
  for (const name of ["a1", "a2", "b1", "a3", "b2"]) {
    await clock.run(bus.publish(keyed, { key: name[0] as string }, { headers: { n: name[1] as string } }));
  }
  await clock.settle();
  expect(seen).toEqual(["b1", "b2"]);
  broken = false;
  await clock.advance(10_000);
  expect(seen).toEqual(["b1", "b2", "a1", "a2", "a3"]);
  await clock.run(bus.close());
});

test("a key that waits fills its own shard's share of the window, and the other shards go on", async () => {
  const { bus, clock } = await bench();
  const seen = new Set<string>();
  const options = { group: "work", window: 8, retry: { firstDelay: "1h", maxDelay: "1h" } } as const;
  await clock.run(
    bus.subscribe(keyed, options, ({ key }) => {
      if (key === "stuck") throw new Error("not yet");
      seen.add(key);
    }),
  );
  const flood = Array.from({ length: 50 }, () => ({ payload: { key: "stuck" } }));
  await clock.run(bus.producer(keyed).sendBatch(flood));
  const others = Array.from({ length: 16 }, (_, index) => ({ payload: { key: `key-${index}` } }));
  await clock.run(bus.producer(keyed).sendBatch(others));
  await clock.advance(1000);
  // Two shards: the keys of the other one are all handled.
  expect(seen.size).toBeGreaterThan(0);
  await clock.run(bus.close());
});

test("unavailable: nothing counts, nothing starts, one is tried until it is back", async () => {
  const { bus, clock } = await bench();
  let down = true;
  let runs = 0;
  const attempts: number[] = [];
  const subscription = await clock.run(
    bus.subscribe(plain, { group: "work", concurrency: 2 }, (_payload, context) => {
      runs++;
      if (down) throw new UnavailableError("database");
      attempts.push(context.message.attempt);
    }),
  );
  for (let n = 0; n < 10; n++) await clock.run(bus.publish(plain, n));
  await clock.settle();
  expect(subscription.health().state).toBe("outage");
  const before = runs;
  await clock.advance(120_000);
  expect(runs - before).toBeGreaterThan(2);
  expect(runs - before).toBeLessThan(30);
  down = false;
  await clock.advance(30_000);
  expect(attempts).toEqual(Array.from({ length: 10 }, () => 1));
  expect(subscription.health().state).toBe("live");
  await clock.run(bus.close());
});

test("a run over its time limit is aborted and tried again elsewhere; its late end is refused and counted", async () => {
  const { bus, clock, fates } = await bench();
  const late = gate();
  let reason: unknown;
  const subscription = await clock.run(
    bus.subscribe(
      plain,
      { group: "work", timeout: "10s", concurrency: 1, retry: { inPlace: 0 } },
      (_payload, context) => {
        if (context.message.attempt > 1) return undefined;
        context.signal.addEventListener("abort", () => (reason = context.signal.reason));
        return late.opened;
      },
    ),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.advance(11_000);
  expect(isSluiceError(reason, "HANDLER_TIMEOUT")).toBe(true);
  // One slot, and the old run still has it.
  expect(fates.map((event) => event.fate)).toEqual(["retry"]);
  late.open();
  await clock.advance(1000);
  expect(fates.map((event) => event.fate)).toEqual(["retry", "done"]);
  expect(subscription.health().counters).toMatchObject({ late: 1, stuck: 0, done: 1 });
  await clock.run(bus.close());
});

test("a handler that never ends gives its slot back after twice its limit, and is reported as stuck", async () => {
  const { bus, clock } = await bench();
  const subscription = await clock.run(
    bus.subscribe(plain, { group: "work", timeout: "1s", concurrency: 1, retry: { inPlace: 0 } }, (_payload, context) =>
      context.message.attempt === 1 ? new Promise<void>(() => {}) : undefined,
    ),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.advance(10_000);
  expect(subscription.health().counters).toMatchObject({ stuck: 1, done: 1 });
  expect(bus.health().status).toBe("degraded");
  await clock.run(bus.close());
});

test("ordered: the lane stays closed while an overdue run lives", async () => {
  const { bus, clock } = await bench();
  const old = gate();
  const seen: string[] = [];
  await clock.run(
    bus.subscribe(keyed, { group: "work", timeout: "1s", retry: { firstDelay: 0 } }, ({ key }, context) => {
      seen.push(`${key}${context.message.headers["n"]}`);
      return seen.length === 1 ? old.opened : undefined;
    }),
  );
  for (const n of ["1", "2"]) await clock.run(bus.publish(keyed, { key: "a" }, { headers: { n } }));
  await clock.advance(60_000);
  expect(seen).toEqual(["a1"]);
  old.open();
  await clock.settle();
  await clock.advance(100);
  expect(seen).toEqual(["a1", "a1", "a2"]);
  await clock.run(bus.close());
});

test("leases are renewed while a handler runs", async () => {
  const { bus, clock } = await bench({ leaseMs: 3000 });
  const run = gate();
  let runs = 0;
  await clock.run(
    bus.subscribe(plain, { group: "work" }, () => {
      runs++;
      return run.opened;
    }),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.advance(60_000);
  expect(runs).toBe(1);
  run.open();
  await clock.run(bus.close());
});

test("drain: running handlers finish, waiting messages go back at once", async () => {
  const { bus, clock, another, fates } = await bench();
  const run = gate();
  const started: unknown[] = [];
  const subscription = await clock.run(
    bus.subscribe(plain, { group: "work", concurrency: 1 }, (payload) => {
      started.push(payload);
      return run.opened;
    }),
  );
  for (let n = 0; n < 5; n++) await clock.run(bus.publish(plain, n));
  const other = await another();
  const taken: unknown[] = [];
  const draining = subscription.drain({ deadline: "20s" });
  await clock.settle();
  await clock.run(other.subscribe(plain, { group: "work" }, (payload) => void taken.push(payload)));
  await clock.advance(100);
  expect(taken.length).toBe(4);
  run.open();
  await clock.run(draining);
  expect(started.length).toBe(1);
  expect(fates.filter((event) => event.fate === "done").length).toBe(5);
  expect(subscription.health().state).toBe("closed");
  await clock.run(Promise.all([bus.close(), other.close()]));
});

test("drain: at the deadline signals abort, and what does not end goes back", async () => {
  const { bus, clock } = await bench();
  let reason: unknown;
  const subscription = await clock.run(
    bus.subscribe(plain, { group: "work" }, (_payload, context) => {
      context.signal.addEventListener("abort", () => (reason = context.signal.reason));
      return new Promise<void>(() => {});
    }),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  await clock.run(subscription.drain({ deadline: "5s" }), 7000);
  expect(isSluiceError(reason, "CLOSED")).toBe(true);
  const done = bus.settled(plain, { fate: "done" });
  await clock.run(bus.subscribe(plain, { group: "work" }, () => {}));
  await clock.run(done);
  await clock.run(bus.close());
});

test("an outcome that was made and not returned fails the attempt and says so", async () => {
  const { bus, clock } = await bench();
  await clock.run(
    bus.subscribe(plain, { group: "work", retry: { attempts: 1 } }, (_payload, context) => {
      context.drop("forgotten return");
    }),
  );
  const dead = bus.settled(plain, { fate: "dead-letter" });
  await clock.run(bus.publish(plain, 1));
  await clock.run(dead);
  const [letter] = (await clock.run(bus.deadLetters(plain, { group: "work" }).list())).letters;
  expect(letter?.errorMessage).toContain("return context.drop");
  await clock.run(bus.close());
});

test("what a failed handler changed is not seen by the next run", async () => {
  const { bus, clock } = await bench();
  const seen: unknown[] = [];
  await clock.run(
    bus.subscribe(
      topic<{ list: number[] }>("mutable"),
      { group: "work", retry: { firstDelay: 0 } },
      (payload, context) => {
        seen.push([...payload.list], context.message.headers["x"]);
        payload.list.push(99);
        (context.message.headers as Record<string, string>)["x"] = "changed";
        if (context.message.attempt === 1) throw new Error("again");
      },
    ),
  );
  const done = bus.settled(topic("mutable"), { fate: "done" });
  await clock.run(bus.publish(topic<{ list: number[] }>("mutable"), { list: [1] }, { headers: { x: "y" } }));
  await clock.run(done);
  expect(seen).toEqual([[1], "y", [1], "y"]);
  await clock.run(bus.close());
});

test("delivery middleware sees the last word; attempt middleware every run", async () => {
  const { bus, clock } = await bench();
  const log: string[] = [];
  await clock.run(
    bus.subscribe(
      plain,
      {
        group: "work",
        retry: { attempts: 3, firstDelay: 1 },
        middleware: {
          delivery: [
            async (context, next) => {
              log.push("delivery >");
              const result = await next().catch((error: unknown) => `threw ${(error as Error).message}`);
              log.push(`delivery < ${result as string} ${context.message.attempt}`);
              throw new PermanentError("the middleware decides");
            },
          ],
          attempt: [
            async (context, next) => {
              log.push(`attempt ${context.message.attempt}`);
              return next();
            },
          ],
        },
      },
      () => {
        throw new Error("handler");
      },
    ),
  );
  const dead = bus.settled(plain, { fate: "dead-letter" });
  await clock.run(bus.publish(plain, 1));
  expect((await clock.run(dead)).reason).toBe("permanent");
  expect(log).toEqual(["delivery >", "attempt 1", "attempt 2", "attempt 3", "delivery < threw handler 3"]);
  await clock.run(bus.close());
});

test("pause keeps what is held, resume goes on", async () => {
  const { bus, clock } = await bench();
  const seen: unknown[] = [];
  const subscription = await clock.run(bus.subscribe(plain, { group: "work" }, (payload) => void seen.push(payload)));
  subscription.pause();
  for (let n = 0; n < 3; n++) await clock.run(bus.publish(plain, n));
  await clock.advance(100_000);
  expect(seen).toEqual([]);
  expect(subscription.health().state).toBe("paused");
  subscription.resume();
  await clock.settle();
  expect(seen).toEqual([0, 1, 2]);
  await clock.run(bus.close());
});
