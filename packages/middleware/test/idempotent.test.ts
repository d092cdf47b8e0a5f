import { subscribe, unsubscribe } from "node:diagnostics_channel";
import {
  type Bus,
  connect,
  type Context,
  events,
  type GroupOptions,
  type Handler,
  PermanentError,
  type Settled,
  type SettledEvent,
  SluiceError,
  topic as declare,
} from "@sluice/core";
import { memory, MemoryBroker, simulation, type Simulation } from "@sluice/memory";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { type Idempotent, idempotent, type IdempotencyStore, memoryStore } from "../src/index.ts";

const Orders = declare<number>("orders");
const group = "billing";
const id = "o-1";
const key = "billing/orders/o-1";

let clock: Simulation;
let store: IdempotencyStore;
let once: Idempotent;
let bus: Bus;

beforeEach(async () => {
  clock = simulation();
  store = memoryStore({ runtime: clock.runtime });
  once = idempotent(store, { runtime: clock.runtime });
  bus = await clock.run(connect(memory({ broker: new MemoryBroker() }), { runtime: clock.runtime }));
  onTestFinished(() => clock.run(bus.close()));
});

const listen = (handler: Handler<number>, options: Partial<GroupOptions> = {}) =>
  bus.subscribe(Orders, { group, middleware: { attempt: [once] }, ...options } as GroupOptions, handler);

/** Publishes a message of that id, and waits for its fate. */
async function deliver(payload = 1, wanted = id, match: { readonly fate?: "done" } = {}): Promise<Settled> {
  const settled = bus.settled(Orders, match);
  await clock.run(bus.publish(Orders, payload, { id: wanted }));
  return clock.run(settled);
}

const state = async () => (await store.acquire(key, "test", 1)).state;

describe("idempotent", () => {
  it("handles a message once, however often it comes", async () => {
    const handler = vi.fn<Handler<number>>();
    const seen: unknown[] = [];
    const hear = (event: unknown) => void seen.push(event);
    subscribe("sluice:duplicate", hear);
    onTestFinished(() => void unsubscribe("sluice:duplicate", hear));
    const subscription = await clock.run(listen(handler));
    await deliver();
    await deliver();
    expect(await deliver()).toMatchObject({ fate: "done" });
    await deliver(2, "o-2");
    expect(handler.mock.calls.map(([payload]) => payload)).toEqual([1, 2]);
    expect(once.counters).toEqual({ completed: 2, duplicates: 2, deferred: 0, lost: 0 });
    expect(subscription.health().counters).toMatchObject({ done: 4, retried: 0 });
    expect(seen).toHaveLength(2);
    expect(seen[0]).toMatchObject({ topic: "orders", group, id, context: { group } });
  });

  it("is named in the explanation", async () => {
    const subscription = await clock.run(listen(() => {}));
    expect(JSON.stringify(subscription.explain())).toContain("idempotent");
  });

  it("handles it again once it is forgotten", async () => {
    once = idempotent(store, { runtime: clock.runtime, ttl: "1m" });
    const handler = vi.fn<Handler<number>>();
    await clock.run(listen(handler));
    await deliver();
    await clock.advance(60_000);
    await deliver();
    expect(handler).toHaveBeenCalledTimes(2);
  });

  it("is each group's own matter", async () => {
    const handler = vi.fn<Handler<number>>();
    await clock.run(listen(handler));
    await clock.run(listen(handler, { group: "mail" }));
    await deliver();
    await clock.settle();
    expect(handler).toHaveBeenCalledTimes(2);
  });

  it("puts off what somebody else holds, until the lock would expire", async () => {
    const handler = vi.fn<Handler<number>>();
    await store.acquire(key, "a process that died", 60_000);
    await clock.run(listen(handler));
    const from = clock.now();
    await deliver(1, id, { fate: "done" });
    expect(handler).toHaveBeenCalledTimes(1);
    expect(handler.mock.calls[0]?.[1].message.attempt).toBe(1);
    expect(clock.now() - from).toBeGreaterThanOrEqual(60_000);
    expect(clock.now() - from).toBeLessThan(62_000);
    expect(once.counters).toMatchObject({ deferred: 1, completed: 1 });
  });

  it("does not handle what the other holder completed meanwhile", async () => {
    const handler = vi.fn<Handler<number>>();
    await store.acquire(key, "other", 60_000);
    await clock.run(listen(handler));
    const delivered = deliver(1, id, { fate: "done" });
    await clock.advance(1000);
    await store.complete(key, "other", 1e9);
    await delivered;
    expect(handler).not.toHaveBeenCalled();
    expect(once.counters).toMatchObject({ deferred: 1, duplicates: 1 });
  });

  it("gives the lock back after a failed run, and records the one that ends well", async () => {
    const states: string[] = [];
    await clock.run(
      listen(async (_payload, { message }) => {
        states.push(await state());
        if (message.attempt < 3) throw new Error("not yet");
      }),
    );
    expect(await deliver()).toMatchObject({ fate: "done" });
    expect(states).toEqual(["locked", "locked", "locked"]);
    expect(once.counters).toEqual({ completed: 1, duplicates: 0, deferred: 0, lost: 0 });
    expect(await state()).toBe("completed");
  });

  it.for<[string, Handler<number>]>([
    ["drop", (_payload, context) => context.drop("not wanted")],
    ["dead-letter", (_payload, context) => context.deadLetter("not possible")],
    ["dead-letter", () => Promise.reject(new PermanentError("never"))],
  ])("records no %s as completed", async ([fate, handler]) => {
    await clock.run(listen(handler));
    expect(await deliver()).toMatchObject({ fate });
    expect(await state()).toBe("acquired");
  });

  it.for<[string, (context: Context) => ReturnType<Context["retry"] | Context["defer"]>]>([
    ["retry", (context) => context.retry({ delay: "1h" })],
    ["defer", (context) => context.defer("1h")],
  ])("runs again after a %s", async ([, outcome]) => {
    let runs = 0;
    await clock.run(listen((_payload, context) => (++runs === 1 ? outcome(context) : undefined)));
    await deliver();
    await clock.until(() => runs === 2, 4e6);
    await clock.settle();
    expect(once.counters).toEqual({ completed: 1, duplicates: 0, deferred: 0, lost: 0 });
  });

  it("handles what is put back from the dead letters", async () => {
    let broken = true;
    const handler = vi.fn<Handler<number>>(() => {
      if (broken) throw new PermanentError("broken");
    });
    await clock.run(listen(handler));
    await deliver();
    broken = false;
    const settled = bus.settled(Orders);
    await clock.run(bus.deadLetters(Orders, { group }).redrive());
    expect(await clock.run(settled)).toMatchObject({ fate: "done" });
    expect(handler).toHaveBeenCalledTimes(2);
  });

  it("does not record a run whose outcome was made and not returned", async () => {
    const fates: string[] = [];
    await clock.run(
      listen((_payload, context) => {
        if (context.message.attempt === 1) context.retry();
        fates.push(`attempt ${context.message.attempt}`);
      }),
    );
    expect(await deliver()).toMatchObject({ fate: "done" });
    expect(fates).toEqual(["attempt 1", "attempt 2"]);
    expect(once.counters).toMatchObject({ completed: 1, duplicates: 0 });
  });

  it("keeps the lock of a run that outlives its time limit, and does not record it", async () => {
    const end = Promise.withResolvers<void>();
    const runs: string[] = [];
    await clock.run(
      listen(
        async (_payload, { message }) => {
          runs.push(`attempt ${message.attempt}`);
          if (message.attempt === 1) await end.promise;
        },
        { timeout: "1m", concurrency: 4 },
      ),
    );
    const settled = bus.settled(Orders, { fate: "done" });
    await clock.run(bus.publish(Orders, 1, { id }));
    await clock.advance(4 * 60_000);
    expect(runs).toEqual(["attempt 1"]);
    expect(await state()).toBe("locked");
    end.resolve();
    await clock.settle();
    expect(once.counters.completed).toBe(0);
    await clock.run(settled);
    expect(runs).toEqual(["attempt 1", "attempt 2"]);
    expect(once.counters).toMatchObject({ completed: 1, lost: 0 });
  });

  it("extends the lock of a handler that takes longer", async () => {
    once = idempotent(store, { runtime: clock.runtime, lock: "10s" });
    const end = Promise.withResolvers<void>();
    await clock.run(listen(() => end.promise));
    const settled = bus.settled(Orders);
    await clock.run(bus.publish(Orders, 1, { id }));
    for (let n = 0; n < 10; n++) {
      await clock.advance(10_000);
      expect(await state()).toBe("locked");
    }
    end.resolve();
    await clock.run(settled);
    expect(once.counters).toEqual({ completed: 1, duplicates: 0, deferred: 0, lost: 0 });
  });

  it("tells a handler that its lock is gone, and lets it not complete", async () => {
    once = idempotent(store, { runtime: clock.runtime, lock: "10s" });
    const reasons: unknown[] = [];
    const renew = vi.spyOn(store, "renew");
    await clock.run(
      listen((_payload, { message, signal }) => {
        if (message.attempt > 1) return;
        renew.mockResolvedValueOnce(false);
        return new Promise<void>((resolve) =>
          signal.addEventListener("abort", () => {
            reasons.push(signal.reason);
            resolve();
          }),
        );
      }),
    );
    await deliver();
    expect(reasons).toEqual([expect.objectContaining({ code: "LEASE_LOST" })]);
    expect(once.counters).toMatchObject({ lost: 1, completed: 1 });
  });

  it("lets a run whose lock was stolen not complete", async () => {
    const handler = vi.fn<Handler<number>>(async () => {
      // As after a time in which this process did not get to renew it.
      vi.spyOn(store, "complete").mockResolvedValueOnce(false);
    });
    await clock.run(listen(handler, { retry: { attempts: 2 } }));
    expect(await deliver()).toMatchObject({ fate: "done" });
    // The run had ended well: having the lock again, only the record is made.
    expect(handler).toHaveBeenCalledTimes(1);
    expect(once.counters).toMatchObject({ lost: 1, completed: 1 });
  });
});

describe("idempotent with a store that fails", () => {
  const down = new Error("connection refused");

  it("waits, counting nothing, until it can be locked", async () => {
    const acquire = vi.spyOn(store, "acquire").mockRejectedValue(down);
    const handler = vi.fn<Handler<number>>();
    const subscription = await clock.run(listen(handler));
    const delivered = deliver();
    await clock.advance(60_000);
    expect(subscription.health().state).toBe("outage");
    expect(handler).not.toHaveBeenCalled();
    acquire.mockRestore();
    expect(await delivered).toMatchObject({ fate: "done" });
    expect(handler.mock.calls[0]?.[1].message.attempt).toBe(1);
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it("does not run the handler again only because it could not be recorded", async () => {
    const complete = vi.spyOn(store, "complete").mockRejectedValue(down);
    const handler = vi.fn<Handler<number>>();
    const subscription = await clock.run(listen(handler));
    const delivered = deliver();
    await clock.advance(600_000);
    expect(subscription.health().state).toBe("outage");
    complete.mockRestore();
    expect(await delivered).toMatchObject({ fate: "done" });
    expect(handler).toHaveBeenCalledTimes(1);
    expect(await state()).toBe("completed");
  });

  it.for(["acquire", "complete"] as const)("takes a lost answer of %s for what it is", async (call) => {
    const original = store[call].bind(store);
    vi.spyOn(store, call).mockImplementationOnce(async (...all: [string, string, number]): Promise<never> => {
      await original(...all);
      throw down;
    });
    const handler = vi.fn<Handler<number>>();
    await clock.run(listen(handler));
    const from = clock.now();
    expect(await deliver()).toMatchObject({ fate: "done" });
    expect(handler).toHaveBeenCalledTimes(1);
    expect(once.counters).toMatchObject({ duplicates: 0, deferred: 0 });
    expect(clock.now() - from).toBeLessThan(5000);
    expect(await state()).toBe("completed");
  });

  it("passes the handler's error on when the lock cannot be given back", async () => {
    vi.spyOn(store, "release").mockRejectedValue(down);
    vi.spyOn(store, "renew").mockRejectedValue(down);
    await clock.run(
      listen((_payload, { message }) => {
        if (message.attempt === 1) throw new Error("the handler's own");
      }),
    );
    const from = clock.now();
    expect(await deliver()).toMatchObject({ fate: "done" });
    expect(clock.now() - from).toBeLessThan(5000); // the same process has its lock again
  });
});

describe("the options of idempotent", () => {
  it("a key of one's own", async () => {
    once = idempotent(store, { runtime: clock.runtime, key: ({ message }) => message.headers["order"] ?? message.id });
    const handler = vi.fn<Handler<number>>();
    await clock.run(listen(handler));
    for (const each of ["a", "b"]) {
      const settled = bus.settled(Orders);
      await clock.run(bus.publish(Orders, 1, { id: each, headers: { order: "42" } }));
      await clock.run(settled);
    }
    expect(handler).toHaveBeenCalledTimes(1);
    expect((await store.acquire("billing/42", "test", 1)).state).toBe("completed");
  });

  it("a key of one's own is each group's own", async () => {
    once = idempotent(store, { runtime: clock.runtime, key: () => "42" });
    const handler = vi.fn<Handler<number>>();
    await clock.run(listen(handler));
    await clock.run(listen(handler, { group: "mail" }));
    for (const each of ["a", "b"]) await deliver(1, each);
    await clock.settle();
    expect(handler).toHaveBeenCalledTimes(2);
    expect(handler.mock.calls.map(([, context]) => context.group).toSorted()).toEqual([group, "mail"]);
  });

  it.for<[string, unknown]>([
    ["an empty text", ""],
    ["a value that is undefined", undefined],
    ["a value that is null", null],
    ["a value that is 42", 42],
    ["a value that is of type object", Promise.resolve("42")],
  ])("%s is no key: tried again, then a dead letter, and nothing counts as a duplicate", async ([what, given]) => {
    once = idempotent(store, { runtime: clock.runtime, key: () => given as string });
    const acquire = vi.spyOn(store, "acquire");
    await clock.run(listen(() => expect.fail("it was handled"), { retry: { attempts: 3 } }));
    for (const each of ["a", "b"]) {
      expect(await deliver(1, each)).toMatchObject({ fate: "dead-letter", reason: "exhausted" });
    }
    const { letters } = await clock.run(bus.deadLetters(Orders, { group }).list());
    expect(letters.map(({ attempts }) => attempts)).toEqual([3, 3]);
    expect(letters[0]?.errorMessage).toContain(`idempotent: option key gave ${what} for message a of topic "orders"`);
    expect(acquire).not.toHaveBeenCalled();
    expect(once.counters).toMatchObject({ completed: 0, duplicates: 0 });
  });

  it.for(["a\u0000b", "x".repeat(513), "broken \uD800", "broken \uD801"])(
    "a key that not every store takes: %j",
    async (odd) => {
      once = idempotent(store, { runtime: clock.runtime, key: () => odd });
      const acquire = vi.spyOn(store, "acquire");
      await clock.run(listen(() => {}));
      await deliver();
      expect(acquire.mock.calls[0]?.[0]).toMatch(/^sha256:[0-9a-f]{64}$/);
    },
  );

  it("what is illegal", () => {
    const refused = (options: object) => {
      try {
        idempotent(store, options);
      } catch (error) {
        return (error as SluiceError).code;
      }
      return undefined;
    };
    expect(refused({ lock: 0 })).toBe("CONFIG");
    expect(refused({ ttl: "0s" })).toBe("CONFIG");
    expect(refused({ ttl: "soon" })).toBe("CONFIG");
  });
});

it("is refused in a transactional subscription", async () => {
  await clock.run(listen(() => {}, { transactional: true, retry: { attempts: 1 } } as Partial<GroupOptions>));
  const settled = bus.settled(Orders);
  const failed: unknown[] = [];
  const hear = (event: unknown) => void failed.push((event as SettledEvent).error);
  subscribe(events.settled.name, hear);
  onTestFinished(() => void unsubscribe(events.settled.name, hear));
  await clock.run(bus.publish(Orders, 1, { id }));
  expect(await clock.run(settled)).toMatchObject({ fate: "dead-letter" });
  expect(failed).toEqual([
    expect.objectContaining({ code: "CONFIG", message: expect.stringContaining("is transactional") }),
  ]);
});

it("batches leave out what was handled", async () => {
  const batches: number[][] = [];
  await clock.run(
    bus.subscribeBatch(
      Orders,
      { group, middleware: { attempt: [once] }, batch: { size: 10, wait: "10ms" } } as GroupOptions,
      (items) => {
        batches.push(items.map(({ payload }) => payload));
        return items.map(({ payload }) => (payload === 2 ? new PermanentError("2") : undefined));
      },
    ),
  );
  for (const round of [0, 1]) {
    const all = [1, 2, 3].map((n) => bus.settled(Orders, { id: `o-${n}` }));
    await clock.run(Promise.all([1, 2, 3].map((n) => bus.publish(Orders, n, { id: `o-${n}` }))));
    await clock.run(Promise.all(all));
    expect(batches[round]).toEqual(round === 0 ? [1, 2, 3] : [2]);
  }
});
