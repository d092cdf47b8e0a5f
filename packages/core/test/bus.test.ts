import { type DeadLetter, isSluiceError, PermanentError, topic } from "@sluice/core";
import { expect, test } from "vitest";
import { gate } from "./support/bench.ts";
import { faultyBench } from "./support/faulty-bench.ts";

const plain = topic("plain", { groups: ["work", "audit"] });
const other = topic<number>("other", { groups: ["work"] });

test("dead letters: counted, listed by pages, put back by filter and number, deleted; each group on its own", async () => {
  const { bus, clock, broker } = await faultyBench();
  let broken = true;
  const seen: unknown[] = [];
  const handler = (payload: unknown) => {
    if (broken) throw new PermanentError(`no ${String(payload)}`);
    seen.push(payload);
  };
  await clock.run(bus.subscribe(plain, { group: "work" }, handler));
  await clock.run(bus.subscribe(plain, { group: "audit" }, handler));
  for (let n = 0; n < 5; n++) await clock.run(bus.publish(plain, n, { headers: { parity: n % 2 ? "odd" : "even" } }));
  await clock.settle();
  broken = false;
  const work = bus.deadLetters(plain, { group: "work" });
  const audit = bus.deadLetters(plain, { group: "audit" });
  expect([await clock.run(work.count()), await clock.run(audit.count())]).toEqual([5, 5]);
  const first = await clock.run(work.list({ max: 3 }));
  const second = await clock.run(work.list({ max: 3, ...(first.next === undefined ? {} : { after: first.next }) }));
  expect([...first.letters, ...second.letters].map(({ errorMessage }) => errorMessage)).toEqual(
    [0, 1, 2, 3, 4].map((n) => `no ${n}`),
  );
  expect([first.letters.length, second.next]).toEqual([3, undefined]);
  const odd = { filter: ({ headers }: DeadLetter) => headers["parity"] === "odd" };
  expect(await clock.run(work.redrive({ ...odd, max: 1 }))).toMatchObject({ redriven: 1 });
  expect(await clock.run(work.redrive(odd))).toEqual({ redriven: 1, kept: 3 });
  await clock.settle();
  expect(seen).toEqual([1, 3]);
  expect(await clock.run(work.discard({ max: 2 }))).toEqual({ discarded: 2, kept: 0 });
  expect(await clock.run(work.count())).toBe(1);
  expect(await clock.run(audit.count())).toBe(5);
  expect(broker.deadLetters("plain", "audit").length).toBe(5);
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("a broker that moves dead letters back itself is asked to, unless only some are wanted or it cannot", async () => {
  let moves: number | undefined = 3;
  const asked: unknown[] = [];
  const { bus, clock } = await faultyBench({
    wrap: (driver) => ({
      ...driver,
      connect: async (context) =>
        Object.assign(await driver.connect(context), {
          moveBack: (source: unknown) => {
            asked.push(source);
            return Promise.resolve(moves);
          },
        }),
    }),
  });
  await clock.run(bus.subscribe(plain, { group: "work" }, (_payload, context) => context.deadLetter("no")));
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  const letters = bus.deadLetters(plain, { group: "work" });
  expect(await clock.run(letters.redrive())).toEqual({ redriven: 3, kept: 0 });
  expect(asked).toEqual([{ topic: "plain", group: "work", deadLetter: true }]);
  expect(await clock.run(letters.redrive({ filter: () => false }))).toEqual({ redriven: 0, kept: 1 });
  expect(await clock.run(letters.redrive({ max: 1 }))).toEqual({ redriven: 1, kept: 0 });
  expect(asked).toHaveLength(1);
  moves = undefined;
  await clock.settle();
  expect(await clock.run(letters.redrive())).toEqual({ redriven: 1, kept: 0 });
  expect(asked).toHaveLength(2);
  await clock.run(bus.close());
});

test("a redrive that cannot send ends with its signal and loses nothing", async () => {
  const { bus, clock, faulty, broker } = await faultyBench();
  await clock.run(bus.subscribe(plain, { group: "work" }, (_payload, context) => context.deadLetter("no")));
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  faulty.faults = { ...faulty.faults, send: 1 };
  const controller = new AbortController();
  const redriving = bus.deadLetters(plain, { group: "work" }).redrive({ signal: controller.signal });
  await clock.advance(1000);
  controller.abort();
  await expect(clock.run(redriving, 1000)).rejects.toMatchObject({ code: "ABORTED" });
  await clock.settle();
  expect(broker.depth("plain", "work").deadLetters).toBeGreaterThanOrEqual(1);
  await clock.run(bus.close());
});

test("several topics in one subscription: the event says which", async () => {
  const { bus, clock } = await faultyBench();
  const seen: unknown[] = [];
  await clock.run(
    bus.subscribe([plain, other], { group: "work" }, (event) => void seen.push([event.topic, event.payload])),
  );
  await clock.run(bus.publish(plain, "x"));
  await clock.run(bus.publish(other, 7));
  await clock.settle();
  expect(seen).toEqual([
    ["plain", "x"],
    ["other", 7],
  ]);
  await clock.run(bus.close());
});

test("a filter accepts what does not match unseen", async () => {
  const { bus, clock, broker } = await faultyBench({
    wrap: (driver) => ({ ...driver, capabilities: { ...driver.capabilities, filter: "emulated" } }),
  });
  const seen: unknown[] = [];
  const filter = { kind: ["a", "b"], region: { prefix: "eu-" } } as const;
  const subscription = await clock.run(
    bus.subscribe(plain, { group: "work", filter }, (payload) => void seen.push(payload)),
  );
  const publish = (payload: number, headers: Record<string, string>) =>
    clock.run(bus.publish(plain, payload, { headers }));
  await publish(1, { kind: "a", region: "eu-west" });
  await publish(2, { kind: "c", region: "eu-west" });
  await publish(3, { kind: "b", region: "us" });
  await publish(4, { kind: "b" });
  await clock.settle();
  expect(seen).toEqual([1]);
  expect(subscription.health().counters).toMatchObject({ filtered: 3, done: 1, dropped: 0 });
  expect(broker.depth("plain", "work")).toMatchObject({ ready: 0, inFlight: 0 });
  await clock.run(bus.close());
});

test("an expired message is dropped without a run", async () => {
  const { bus, clock } = await faultyBench();
  const dropped = bus.settled(plain, { group: "work", fate: "drop" });
  await clock.run(bus.publish(plain, 1, { expiresAt: new Date(clock.now() + 1000) }));
  await clock.advance(2000);
  let runs = 0;
  await clock.run(bus.subscribe(plain, { group: "work" }, () => void runs++));
  expect(await clock.run(dropped)).toMatchObject({ reason: "expired" });
  expect(runs).toBe(0);
  await clock.run(bus.close());
});

test("what a handler publishes carries correlation and cause; also after the handler has ended", async () => {
  const { bus, clock, broker } = await faultyBench();
  const late = gate();
  const receipts: string[] = [];
  await clock.run(
    bus.subscribe(plain, { group: "work" }, async (_payload, context) => {
      await context.publish(other, 1, { id: "o1" });
      void late.opened.then(async () => receipts.push((await context.publish(other, 2, { id: "o2" })).id));
    }),
  );
  await clock.run(bus.publish(plain, 1, { id: "p1", headers: { "correlation-id": "flow", traceparent: "00-1-2-01" } }));
  await clock.settle();
  late.open();
  await clock.settle();
  expect(receipts).toEqual(["o2"]);
  for (const { headers } of broker.waiting("other", "work")) {
    expect(headers).toMatchObject({ "correlation-id": "flow", "causation-id": "p1", traceparent: "00-1-2-01" });
  }
  await clock.run(bus.close());
});

test("middleware that throws fails the attempt; next() twice is an error that names it", async () => {
  const { bus, clock, broker } = await faultyBench();
  let runs = 0;
  await clock.run(
    bus.subscribe(
      plain,
      {
        group: "work",
        retry: { attempts: 1 },
        middleware: {
          attempt: [
            async function twice(context, next) {
              if (context.message.headers["x"] === "throw") throw new Error("from the middleware");
              await next();
              return next();
            },
          ],
        },
      },
      () => void runs++,
    ),
  );
  await clock.run(bus.publish(plain, 1, { headers: { x: "throw" } }));
  await clock.run(bus.publish(plain, 2));
  await clock.settle();
  expect(runs).toBe(1);
  expect(broker.deadLetters("plain", "work").map(({ headers }) => headers["dlq-error-message"])).toEqual([
    "from the middleware",
    "middleware twice called next() twice",
  ]);
  await clock.run(bus.close());
});

test("delivery middleware that never calls next() ends the message itself", async () => {
  const { bus, clock, fates } = await faultyBench();
  let runs = 0;
  const seen = async () => {};
  await clock.run(bus.subscribe(plain, { group: "work", middleware: { delivery: [seen] } }, () => void runs++));
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  expect(runs).toBe(0);
  expect(fates.map(({ fate }) => fate)).toEqual(["done"]);
  await clock.run(bus.close());
});

test("a logger that throws takes no message with it", async () => {
  const fail = () => {
    throw new Error("the disk is full");
  };
  const { bus, clock, broker } = await faultyBench({ logger: { debug: fail, info: fail, warn: fail, error: fail } });
  const done = bus.settled(plain, { group: "work", fate: "done" });
  await clock.run(
    bus.subscribe(plain, { group: "work" }, (_payload, context) => {
      context.log.info({}, "hello");
    }),
  );
  broker.disconnect();
  await clock.advance(10_000);
  await clock.run(bus.publish(plain, 1));
  expect((await clock.run(done)).fate).toBe("done");
  await clock.run(bus.close());
});

test("spies resolve with the first last word that matches", async () => {
  const { bus, clock } = await faultyBench();
  const byId = bus.settled(plain, { id: "m2" });
  const byFate = bus.settled(plain, { fate: "drop" });
  const any = bus.settled(plain);
  await clock.run(
    bus.subscribe(plain, { group: "work" }, (payload, context) => (payload === 3 ? context.drop("three") : undefined)),
  );
  for (const n of [1, 2, 3]) await clock.run(bus.publish(plain, n, { id: `m${n}` }));
  expect((await clock.run(any)).id).toBe("m1");
  expect(await clock.run(byId)).toEqual({ topic: "plain", group: "work", id: "m2", fate: "done", reason: undefined });
  expect(await clock.run(byFate)).toMatchObject({ id: "m3", reason: "three" });
  await clock.run(bus.close());
});

test("run ends with a signal: the first drains, the second aborts at once; its listeners are gone then", async () => {
  const { bus, clock } = await faultyBench();
  const before = process.listenerCount("SIGUSR2");
  const reasons: unknown[] = [];
  await clock.run(
    bus.subscribe(plain, { group: "work" }, (_payload, context) => {
      context.signal.addEventListener("abort", () => reasons.push(context.signal.reason));
      return new Promise<void>(() => {});
    }),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  const running = bus.run({ signals: ["SIGUSR2"] });
  process.emit("SIGUSR2");
  await clock.advance(5000);
  expect(reasons).toEqual([]);
  process.emit("SIGUSR2");
  await clock.run(running, 2000);
  expect(isSluiceError(reasons[0], "CLOSED")).toBe(true);
  expect(process.listenerCount("SIGUSR2")).toBe(before);
  expect(clock.timers).toBe(0);
});

test("pause during an outage holds the probe back too", async () => {
  const { bus, clock } = await faultyBench();
  const { UnavailableError } = await import("@sluice/core");
  let runs = 0;
  const subscription = await clock.run(
    bus.subscribe(plain, { group: "work" }, () => {
      if (++runs === 1) throw new UnavailableError("database");
    }),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  subscription.pause();
  await clock.advance(120_000);
  expect(runs).toBe(1);
  subscription.resume();
  await clock.advance(60_000);
  expect(runs).toBe(2);
  await clock.run(bus.close());
});
