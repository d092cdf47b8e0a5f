import { type AttemptMiddleware, type BatchMiddleware, PermanentError, topic, UnavailableError } from "@sluice/core";
import { expect, test } from "vitest";
import { gate } from "./support/bench.ts";
import { faultyBench } from "./support/faulty-bench.ts";

const plain = topic<number>("plain", { groups: ["work"] });
const options = { group: "work", batch: { size: 8, wait: 50 }, retry: { attempts: 2, firstDelay: 1 } } as const;

test("a batch that throws is split until the message that fails stands alone", async () => {
  const { bus, clock, broker } = await faultyBench();
  const calls: number[][] = [];
  await clock.run(
    bus.subscribeBatch(plain, options, (items) => {
      calls.push(items.map(({ payload }) => payload));
      if (items.some(({ payload }) => payload === 5)) throw new PermanentError("five");
    }),
  );
  await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map((n) => clock.run(bus.publish(plain, n))));
  await clock.advance(1000);
  expect(calls).toEqual([[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4], [5, 6, 7, 8], [5, 6], [5], [6], [7, 8]]);
  expect(broker.depth("plain", "work")).toMatchObject({ ready: 0, inFlight: 0, deadLetters: 1 });
  await clock.run(bus.close());
});

test("each message of a batch has its own fate; a wrong number of fates fails all", async () => {
  const { bus, clock, fates, broker } = await faultyBench();
  await clock.run(
    bus.subscribeBatch(plain, options, (items) => {
      if (items.length === 2) return [undefined];
      return items.map(({ payload, context }) => {
        if (payload === 1) return context.drop("one");
        if (payload === 2) return context.deadLetter("two");
        return payload === 3 && context.message.attempt === 1 ? new Error("three") : undefined;
      });
    }),
  );
  await Promise.all([1, 2, 3, 4].map((n) => clock.run(bus.publish(plain, n, { id: `m${n}` }))));
  await clock.advance(1000);
  const fate = (id: string) => fates.filter((event) => event.id === id).map((event) => event.fate);
  expect(["m1", "m2", "m3", "m4"].map(fate)).toEqual([["drop"], ["dead-letter"], ["done"], ["done"]]);
  await Promise.all([5, 6].map((n) => clock.run(bus.publish(plain, n, { id: `m${n}` }))));
  await clock.advance(1000);
  expect(broker.deadLetters("plain", "work").at(-1)?.headers["dlq-error-message"]).toBe(
    "sluice: the batch handler returned 1 outcomes for 2 messages; return one per message, or nothing",
  );
  await clock.run(bus.close());
});

test("batch middleware is around one call of the handler, the bus's own outside; messages know that they are in a batch", async () => {
  const seen: string[] = [];
  const around =
    (name: string): BatchMiddleware =>
    async (items, next) => {
      seen.push(`${name} ${items.map(({ context }) => `${context.group} ${context.batch}`).join(", ")}`);
      const answer = await next();
      return name === "own" ? items.map(({ context }) => context.drop("the middleware decides")) : answer;
    };
  const attempt: AttemptMiddleware = (context, next) => {
    seen.push(`attempt ${context.batch} ${context.shard.length > 0}`);
    return next();
  };
  const { bus, clock, fates } = await faultyBench({ middleware: { attempt: [attempt], batch: [around("bus")] } });
  const own = { ...options, middleware: { batch: [around("own")] } };
  const subscription = await clock.run(
    bus.subscribeBatch(plain, own, (items) => void seen.push(`call ${items.length}`)),
  );
  await Promise.all([1, 2].map((n) => clock.run(bus.publish(plain, n))));
  await clock.advance(1000);
  const both = "work true, work true";
  expect(seen).toEqual(["attempt true true", "attempt true true", `bus ${both}`, `own ${both}`, "call 2"]);
  expect(fates.map(({ fate }) => fate)).toEqual(["drop", "drop"]);
  expect(subscription.explain()).toContain("attempt > (anonymous) > (anonymous) > handler");
  await clock.run(bus.close());
});

test("a batch for which something is down is held as a whole, not split", async () => {
  const { bus, clock } = await faultyBench();
  let down = true;
  const calls: number[] = [];
  const subscription = await clock.run(
    bus.subscribeBatch(plain, options, (items) => {
      calls.push(items.length);
      if (down) throw new UnavailableError("database");
    }),
  );
  await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map((n) => clock.run(bus.publish(plain, n))));
  await clock.advance(100);
  expect(calls).toEqual([8]);
  expect(subscription.health().state).toBe("outage");
  down = false;
  await clock.advance(60_000);
  expect(subscription.health()).toMatchObject({ state: "live", held: 0, counters: { done: 8, retried: 0 } });
  await clock.run(bus.close());
});

test("a batch that was never full is not called after the close, and leaves no timer", async () => {
  const { bus, clock, broker } = await faultyBench();
  const calls: number[] = [];
  await clock.run(
    bus.subscribeBatch(plain, { group: "work", batch: { wait: "1h" } }, (items) => void calls.push(items.length)),
  );
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
  expect(calls).toEqual([]);
  expect(broker.depth("plain", "work")).toMatchObject({ ready: 1, inFlight: 0 });
});

test("pull: breaking the loop gives back what nobody read and retries what was not settled", async () => {
  const { bus, clock, broker } = await faultyBench();
  const consumer = await clock.run(bus.consumer(plain, { group: "work", concurrency: 4 }));
  for (let n = 0; n < 6; n++) await clock.run(bus.publish(plain, n, { id: `m${n}` }));
  const read = async () => {
    for await (const delivery of consumer) {
      if (delivery.payload === 0) delivery.done();
      else break;
    }
  };
  await clock.run(read(), 1000);
  const waiting = broker.waiting("plain", "work").map(({ id, headers }) => [id, headers["sluice-attempts"]]);
  expect(waiting.toSorted((left, right) => String(left[0]).localeCompare(String(right[0])))).toEqual([
    ["m1", "1"],
    ["m2", undefined],
    ["m3", undefined],
    ["m4", undefined],
    ["m5", undefined],
  ]);
  expect(await consumer.next()).toEqual({ done: true, value: undefined });
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("pull: the first outcome counts, and leaving a scope without one retries", async () => {
  const { bus, clock, fates } = await faultyBench();
  const consumer = await clock.run(bus.consumer(plain, { group: "work", retry: { firstDelay: 1 } }));
  await clock.run(bus.publish(plain, 1, { id: "m1" }));
  const first = (await clock.run(consumer.next())).value;
  first?.drop("no");
  first?.done();
  first?.retry();
  expect(first?.settled).toBe(true);
  await clock.run(bus.publish(plain, 2, { id: "m2" }));
  const scope = async () => {
    await using delivery = (await consumer.next()).value;
    return delivery?.message.attempt;
  };
  expect(await clock.run(scope())).toBe(1);
  const again = (await clock.run(consumer.next())).value;
  expect(again?.message.attempt).toBe(2);
  again?.deadLetter("enough");
  await clock.settle();
  expect(fates.map(({ id, fate }) => `${id} ${fate}`)).toEqual(["m1 drop", "m2 dead-letter"]);
  await clock.run(consumer.close());
  await clock.run(bus.close());
});

test("pull: a message that was lost before anybody read it is not handed out", async () => {
  const { bus, clock, faulty } = await faultyBench();
  const consumer = await clock.run(bus.consumer(plain, { group: "work" }));
  await clock.run(bus.publish(plain, 1));
  await clock.settle();
  faulty.revokeAll();
  await clock.settle();
  const delivery = (await clock.run(consumer.next())).value;
  expect(delivery?.context.signal.aborted).toBe(false);
  expect(delivery?.message.deliveries).toBe(2);
  delivery?.done();
  await clock.run(bus.close());
});

test("pull: a signal drains; the unsettled one is waited for", async () => {
  const { bus, clock, fates } = await faultyBench();
  const controller = new AbortController();
  const consumer = await clock.run(bus.consumer(plain, { group: "work", signal: controller.signal }));
  await clock.run(bus.publish(plain, 1));
  const delivery = (await clock.run(consumer.next())).value;
  controller.abort();
  await clock.advance(5000);
  expect(consumer.health()?.state).toBe("draining");
  delivery?.done();
  await clock.advance(100);
  expect(consumer.health()?.state).toBe("closed");
  expect(fates.map(({ fate }) => fate)).toEqual(["done"]);
  expect((await consumer.next()).done).toBe(true);
  await clock.run(bus.close());
});

test("ordered batches hold at most one message of a key", async () => {
  const { bus, clock } = await faultyBench();
  const keyed = topic("keyed", {
    key: (payload: { readonly key: string }) => payload.key,
    shards: 1,
    groups: ["work"],
  });
  const calls: string[][] = [];
  const slow = gate();
  await clock.run(
    bus.subscribeBatch(keyed, { group: "work", batch: { size: 10, wait: 10 } }, async (items) => {
      calls.push(items.map(({ payload }) => payload.key));
      await slow.opened;
    }),
  );
  for (const key of ["a", "a", "b", "a"]) await clock.run(bus.publish(keyed, { key }));
  await clock.advance(1000);
  expect(calls.map((keys) => keys.join(""))).toEqual(["ab"]);
  slow.open();
  await clock.advance(1000);
  expect(calls.map((keys) => keys.join(""))).toEqual(["ab", "a", "a"]);
  await clock.run(bus.close());
});
