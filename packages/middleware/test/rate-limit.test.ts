import { type GroupOptions, topic } from "@sluice/core";
import { type MemoryCapabilities, simulation } from "@sluice/memory";
import { rateLimit, type RateLimitOptions } from "@sluice/middleware";
import { describe, expect, test } from "vitest";
import { bench, type Order, Orders } from "./support/bench.ts";

const Keyed = topic<Order>("keyed", { key: ({ orderId }) => orderId, groups: ["billing"] });

/** A handler behind the limit, and when it began for which message, in milliseconds since the first. */
async function limited(
  options: RateLimitOptions,
  subscribe: Partial<GroupOptions<MemoryCapabilities>> = {},
  target = Orders,
) {
  const clock = simulation();
  const made = await bench({ middleware: { delivery: [rateLimit({ ...options, runtime: clock.runtime })] } }, clock);
  const begun: { readonly atMs: number; readonly id: string }[] = [];
  const all = { group: "billing", ...subscribe } as GroupOptions<MemoryCapabilities>;
  const subscription = await clock.run(
    made.bus.subscribe(target, all, (_order, { message }) => void begun.push({ atMs: clock.now(), id: message.id })),
  );
  const send = (ids: readonly string[]) =>
    Promise.all(ids.map((id) => clock.run(made.bus.publish(target, { orderId: id.slice(0, 1) }, { id }))));
  const times = () => begun.map(({ atMs }) => Math.round(atMs - (begun[0]?.atMs ?? 0)));
  return { ...made, subscription, begun, send, times };
}

const names = (count: number) => Array.from({ length: count }, (_, index) => `m-${index}`);

describe("rateLimit", () => {
  test("one after the other at the rate, in the order of arrival", async () => {
    const { bus, clock, begun, send, times, subscription } = await limited({ limit: 5, per: "1s" });
    await send(names(6));
    await clock.until(() => begun.length === 6);
    expect(times()).toEqual([0, 200, 400, 600, 800, 1000]);
    expect(begun.map(({ id }) => id)).toEqual(names(6));
    expect(subscription.health().counters).toMatchObject({ deferred: 0, retried: 0 });
    await clock.run(bus.close());
    expect(clock.timers).toBe(0);
  });

  test("a burst after a quiet time, and never more than the rate over a long time", async () => {
    const { bus, clock, begun, send, times } = await limited({ limit: 10, per: "1s", burst: 4 }, { concurrency: 100 });
    await send(names(30));
    await clock.until(() => begun.length === 30);
    expect(times().filter((atMs) => atMs === 0)).toHaveLength(4);
    expect(times().at(-1)).toBe(2600);
    await clock.advance(60_000);
    await send(names(5));
    await clock.until(() => begun.length === 35);
    const last = times().slice(30);
    expect(last.filter((atMs) => atMs === last[0])).toHaveLength(4);
    await clock.run(bus.close());
  });

  test("long waits take no slot, no attempt and no copy, and keep their place", async () => {
    const { bus, clock, begun, send, times, subscription, broker } = await limited(
      { limit: 1, per: "1m" },
      { concurrency: 2, timeout: "10s", retry: { attempts: 1 } },
    );
    await send(names(5));
    await clock.until(() => begun.length === 5);
    expect(times()).toEqual([0, 60_000, 120_000, 180_000, 240_000]);
    expect(begun.map(({ id }) => id)).toEqual(names(5));
    expect(subscription.health().counters).toMatchObject({ done: 5, retried: 0, stuck: 0, deadLettered: 0 });
    expect(subscription.health().counters.received).toBe(5);
    expect(broker.depth("orders", "billing").ready).toBe(0);
    await clock.run(bus.close());
  });

  test("where deferring goes through the broker, too: every message has its turn", async () => {
    const { bus, clock, begun, send, times } = await limited({ limit: 1, per: "10s" }, { retry: { inPlace: 0 } });
    await send(names(4));
    await clock.until(() => begun.length === 4);
    expect(times()).toEqual([0, 10_000, 20_000, 30_000]);
    await clock.run(bus.close());
  });

  test("a limit per key: others are not held up", async () => {
    const key = ({ message }: { readonly message: { readonly id: string } }) => message.id.slice(0, 1);
    const { bus, clock, begun, send } = await limited({ limit: 1, per: "1m", key }, { concurrency: 1 });
    await send(["a-1", "a-2", "a-3", "b-1", "c-1"]);
    await clock.settle();
    expect(begun.map(({ id }) => id)).toEqual(["a-1", "b-1", "c-1"]);
    await clock.until(() => begun.length === 5);
    expect(begun.map(({ id }) => id)).toEqual(["a-1", "b-1", "c-1", "a-2", "a-3"]);
    await clock.run(bus.close());
  });

  test("keeps the order of a key", async () => {
    const { bus, clock, begun, send } = await limited({ limit: 1, per: "5s" }, {}, Keyed);
    await send(["a-1", "a-2", "b-1", "a-3"]);
    await clock.until(() => begun.length === 4);
    expect(begun.map(({ id }) => id).filter((id) => id.startsWith("a"))).toEqual(["a-1", "a-2", "a-3"]);
    await clock.run(bus.close());
  });

  test("remembers a bounded number of keys", async () => {
    const key = ({ message }: { readonly message: { readonly id: string } }) => message.id;
    const { bus, clock, begun, send } = await limited({ limit: 1, per: "1h", key, keys: 2 });
    await send(["a", "b", "c"]);
    await clock.settle();
    // "a" is forgotten and may begin again; "c" is not.
    await send(["a", "c"]);
    await clock.settle();
    expect(begun.map(({ id }) => id)).toEqual(["a", "b", "c", "a"]);
    await clock.run(bus.close());
  });

  test("a drain gives back what waits long, and waits for a short one", async () => {
    const { bus, clock, begun, send, subscription, broker } = await limited({ limit: 2, per: "1s", burst: 1 });
    await send(names(6));
    await clock.settle();
    const before = clock.now();
    await clock.run(subscription.drain());
    expect(clock.now() - before).toBeLessThanOrEqual(1000);
    expect(begun.length).toBeLessThan(6);
    expect(begun.length + broker.depth("orders", "billing").ready).toBe(6);
    await clock.run(bus.close());
    expect(clock.timers).toBe(0);
  });

  test("a wait ends with the signal, and the message goes back", async () => {
    const { bus, clock, begun, send, subscription } = await limited({ limit: 1, per: "900ms" });
    await send(names(2));
    await clock.settle();
    const before = clock.now();
    await clock.run(subscription.close());
    expect([begun.length, clock.now() - before]).toEqual([1, 0]);
    await clock.run(bus.close());
    expect(clock.timers).toBe(0);
  });
});

test("refuses what is no limit, and shows itself in explain", async () => {
  for (const wrong of [{ limit: 0 }, { limit: Number.NaN }, { burst: 0 }, { keys: 0 }, { per: 0 }] as const) {
    expect(() => rateLimit({ limit: 1, per: "1s", ...wrong })).toThrow("give a number of at least 1");
  }
  expect(() => rateLimit({ limit: 1, per: "fast" as "1s" })).toThrow(expect.objectContaining({ code: "CONFIG" }));
  const { bus, clock, subscription } = await limited({ limit: 1, per: "1s" });
  expect(subscription.explain()).toContain("chain: rateLimit > retry and dead letter > handler");
  await clock.run(bus.close());
});
