import { connect, PermanentError, topic } from "@sluice/core";
import type { Driver } from "@sluice/core/driver";
import { memory, simulation } from "@sluice/memory";
import { expect, test } from "vitest";
import { faultyBench } from "./support/faulty-bench.ts";

const plain = topic("plain", { groups: ["work"] });

test.each([true, false])(
  "a copy that cannot be stored holds the message; nothing new starts, then all goes on (atomic: %s)",
  async (atomic) => {
    const { bus, clock, faulty, broker, fates } = await faultyBench({ atomic });
    const seen: unknown[] = [];
    const subscription = await clock.run(
      bus.subscribe(plain, { group: "work", concurrency: 1 }, (payload) => {
        seen.push(payload);
        if (payload === "poison") throw new PermanentError("never");
      }),
    );
    await clock.run(bus.publish(plain, "poison"));
    await clock.run(bus.publish(plain, "fine"));
    await clock.settle();
    expect(seen).toEqual(["poison", "fine"]);

    for (const receiver of faulty.receivers)
      if (receiver.commit) receiver.commit = (units) => Promise.resolve(units.map(() => "unknown"));
    faulty.faults = { ...faulty.faults, send: 1 };
    const publishing = bus.publish(plain, "poison").catch(() => undefined);
    // The publish itself fails too, until a raw client helps.
    broker.publish("plain", {
      body: new TextEncoder().encode('"poison"'),
      headers: { "content-type": "application/json" },
    });
    await clock.advance(70_000);
    expect(subscription.health().state).toBe("blocked");
    broker.publish("plain", {
      body: new TextEncoder().encode('"later"'),
      headers: { "content-type": "application/json" },
    });
    await clock.advance(70_000);
    expect(seen.filter((payload) => payload === "later")).toEqual([]);
    faulty.faults = { ...faulty.faults, send: 0 };
    for (const receiver of faulty.receivers) delete receiver.commit;
    await clock.advance(120_000);
    await publishing;
    expect(seen).toContain("later");
    expect(broker.depth("plain", "work").deadLetters).toBeGreaterThan(1);
    expect(subscription.health()).toMatchObject({ state: "live", held: 0 });
    expect(fates.some(({ fate }) => fate === "lost")).toBe(false);
    await clock.run(bus.close());
    expect(clock.timers).toBe(0);
  },
);

test("a message that is lost while its copy cannot be stored is let go at once", async () => {
  const { bus, clock, faulty, fates, broker } = await faultyBench();
  const subscription = await clock.run(
    bus.subscribe(plain, { group: "work" }, () => {
      faulty.faults = { ...faulty.faults, send: 1, open: 1 };
      throw new PermanentError("never");
    }),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.advance(100_000);
  expect(subscription.health().state).toBe("blocked");
  faulty.kill();
  await clock.settle();
  expect(fates.map(({ fate }) => fate)).toEqual(["lost"]);
  expect(subscription.health().held).toBe(0);
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
  expect(broker.depth("plain", "work")).toMatchObject({ ready: 1, inFlight: 0 });
});

test("errors of any shape become a dead letter with a text", async () => {
  const { bus, clock, broker } = await faultyBench();
  const strange = [
    undefined,
    null,
    Symbol("sign"),
    Object.assign(new Error("x"), { message: { code: 1 }, name: undefined }),
    Object.create(null),
    Object.defineProperty(new Error("x"), "message", {
      get: () => {
        throw new Error("getter");
      },
    }),
  ];
  await clock.run(
    bus.subscribe(plain, { group: "work", retry: { attempts: 1 } }, (index) => {
      throw strange[Number(index)];
    }),
  );
  for (const index of strange.keys()) await clock.run(bus.publish(plain, index));
  await clock.settle();
  expect(broker.deadLetters("plain", "work").map(({ headers }) => headers["dlq-error-message"])).toEqual([
    "undefined",
    "null",
    "Symbol(sign)",
    "[object Object]",
    "a value that cannot be shown",
    "a value that cannot be shown",
  ]);
  await clock.run(bus.close());
});

test("a handler that returns a hostile thenable fails its own message only", async () => {
  const { bus, clock, broker } = await faultyBench();
  const done: unknown[] = [];
  // oxlint-disable-next-line no-thenable -- hostile on purpose
  const twice = { then: (resolve: (value: unknown) => void) => [resolve(undefined), resolve(undefined)] };
  await clock.run(
    bus.subscribe(plain, { group: "work", retry: { attempts: 1 } }, (payload) => {
      if (payload === "getter")
        // oxlint-disable-next-line no-thenable -- hostile on purpose
        return Object.defineProperty({}, "then", {
          get: () => {
            throw new Error("no");
          },
        }) as unknown as undefined;
      if (payload === "throws")
        return {
          // oxlint-disable-next-line no-thenable -- hostile on purpose
          then: () => {
            throw new Error("no");
          },
        } as unknown as undefined;
      done.push(payload);
      return payload === "twice" ? (twice as unknown as undefined) : undefined;
    }),
  );
  for (const payload of ["getter", "throws", "twice", "fine"]) await clock.run(bus.publish(plain, payload));
  await clock.settle();
  expect(done).toEqual(["twice", "fine"]);
  expect(broker.depth("plain", "work")).toMatchObject({ ready: 0, inFlight: 0, deadLetters: 2 });
  await clock.run(bus.close());
});

test("without dead letters a message that is given up is dropped and counted", async () => {
  const { bus, clock } = await faultyBench();
  const subscription = await clock.run(
    bus.subscribe(
      plain,
      { group: "work", deadLetter: false, retry: { attempts: 2, firstDelay: 1 } },
      (payload, context) => {
        if (payload === "defer" && context.message.headers["x"] === undefined) return context.drop("on purpose");
        throw new Error("always");
      },
    ),
  );
  const dropped = bus.settled(plain, { fate: "drop" });
  await clock.run(bus.publish(plain, 1));
  expect((await clock.run(dropped)).reason).toBe("exhausted: always");
  await clock.run(bus.publish(plain, "defer"));
  await clock.settle();
  expect(subscription.health().counters).toMatchObject({ dropped: 2, retried: 1, deadLettered: 0 });
  await clock.run(bus.close());
});

test("a broadcast tries again in place, then drops and counts", async () => {
  const { bus, clock } = await faultyBench();
  const attempts: number[] = [];
  const subscription = await clock.run(
    bus.subscribe(
      plain,
      { broadcast: "watch", retry: { attempts: 3, firstDelay: "10s", maxDelay: "1m" } },
      (_payload, context) => {
        attempts.push(context.message.attempt);
        throw new Error("always");
      },
    ),
  );
  const dropped = bus.settled(plain, { group: "watch", fate: "drop" });
  await clock.run(bus.publish(plain, 1));
  await clock.run(dropped);
  expect(attempts).toEqual([1, 2, 3]);
  expect(subscription.health().counters).toMatchObject({ dropped: 1, retried: 2, deadLettered: 0 });
  await clock.run(bus.close());
});

test("a delay longer than the broker's longest comes early; without any the message waits here", async () => {
  for (const delayMs of [60_000, 0]) {
    const wrap = <D extends Driver>(driver: D): D => ({
      ...driver,
      connect: async (context: Parameters<Driver["connect"]>[0]) => {
        const connection = await driver.connect(context);
        return Object.assign(connection, { limits: { ...connection.limits, delayMs } });
      },
    });
    const { bus, clock, fates } = await faultyBench({ wrap });
    const seen: number[] = [];
    await clock.run(
      bus.subscribe(plain, { group: "work" }, (_payload, context) => {
        seen.push(clock.now() - began);
        return seen.length === 1 ? context.defer("90s") : undefined;
      }),
    );
    const began = clock.now();
    await clock.run(bus.publish(plain, 1));
    await clock.advance(100_000);
    expect(seen).toEqual([0, delayMs === 0 ? 90_000 : 60_000]);
    expect(fates.map(({ fate }) => fate).slice(-2)).toEqual(delayMs === 0 ? ["done"] : ["defer", "done"]);
    await clock.run(bus.close());
  }
});

test("retry and defer at a time of the handler's own go through the own entry; only retry counts an attempt", async () => {
  const { bus, clock } = await faultyBench();
  const seen: string[] = [];
  await clock.run(
    bus.subscribe(plain, { group: "work" }, (_payload, context) => {
      seen.push(`${context.message.attempt} at ${clock.now() - began}`);
      if (seen.length === 1) return context.defer("10s", "not yet");
      if (seen.length === 2) return context.retry({ delay: "20s" });
      return undefined;
    }),
  );
  const began = clock.now();
  const done = bus.settled(plain, { fate: "done" });
  await clock.run(bus.publish(plain, 1));
  await clock.run(done);
  expect(seen).toEqual(["1 at 0", "1 at 10000", "2 at 30000"]);
  await clock.run(bus.close());
});

test("a dead letter that our own headers bring over the broker's limit is kept without the details", async () => {
  const clock = simulation();
  const bus = await clock.run(connect(memory({ limits: { headersBytes: 400 } }), { runtime: clock.runtime }));
  await clock.run(
    bus.subscribe(plain, { group: "work" }, () => {
      throw new PermanentError("x".repeat(600));
    }),
  );
  const dead = bus.settled(plain, { fate: "dead-letter" });
  await clock.run(bus.publish(plain, 1, { headers: { mine: "y".repeat(200) } }));
  await clock.run(dead);
  const [letter] = (await clock.run(bus.deadLetters(plain, { group: "work" }).list())).letters;
  expect(letter).toMatchObject({ reason: "permanent", errorMessage: "", attempts: 1 });
  expect(letter?.headers["mine"]).toHaveLength(200);
  await clock.run(bus.close());
});
