import { type Context, type Duration, isSluiceError } from "@sluice/core";
import { simulation } from "@sluice/memory";
import { timeout } from "@sluice/middleware";
import { describe, expect, test } from "vitest";
import { bench, Orders } from "./support/bench.ts";

const aborted = (signal: AbortSignal) =>
  new Promise<unknown>((resolve) => signal.addEventListener("abort", () => resolve(signal.reason), { once: true }));

async function limited(
  limit: Parameters<typeof timeout>[0],
  handler: (context: Context) => unknown,
  own: Duration = "1m",
) {
  const clock = simulation();
  const made = await bench({ middleware: { attempt: [timeout(limit, { runtime: clock.runtime })] } }, clock);
  const options = { group: "billing", timeout: own, retry: { attempts: 2 } } as const;
  const subscription = await clock.run(
    made.bus.subscribe(Orders, options, async (_order, context) => void (await handler(context))),
  );
  return { ...made, subscription };
}

describe("timeout", () => {
  test("aborts the signal with a typed error, waits for the handler, and fails the run", async () => {
    const reasons: unknown[] = [];
    const { bus, clock, subscription } = await limited(
      "5s",
      async ({ signal }) => void reasons.push(await aborted(signal)),
    );
    const settled = bus.settled(Orders, { group: "billing" });
    await clock.run(bus.publish(Orders, { orderId: "o-1" }, { id: "m-1" }));
    expect(await clock.run(settled)).toMatchObject({ fate: "dead-letter", reason: "exhausted" });
    expect(reasons).toHaveLength(2);
    expect(reasons.every((reason) => isSluiceError(reason, "HANDLER_TIMEOUT"))).toBe(true);
    expect(String(reasons[0])).toBe(
      'SluiceError: timeout: the handler of topic "orders" ran longer than 5000 ms for message m-1; ' +
        "give it more time, or end the work when context.signal aborts",
    );
    expect(subscription.health().counters).toMatchObject({ retried: 1, deadLettered: 1, stuck: 0 });
    await clock.run(bus.close());
    expect(clock.timers).toBe(0);
  });

  test("a handler that ends in time leaves no timer; one that fails in time keeps its error", async () => {
    const { bus, clock } = await limited("5s", ({ message }) => {
      if (message.attempt === 1) throw new RangeError("its own");
    });
    const errors: unknown[] = [];
    const settled = bus.settled(Orders, { group: "billing" });
    await clock.run(bus.publish(Orders, { orderId: "o-1" }));
    expect(await clock.run(settled)).toMatchObject({ fate: "done" });
    await clock.run(bus.close());
    expect([errors, clock.timers]).toEqual([[], 0]);
  });

  test("a second run has a signal and a limit of its own", async () => {
    const runs: boolean[] = [];
    const limit = ({ message }: Context) => (message.attempt === 1 ? "1s" : "10s");
    const { bus, clock } = await limited(limit, async ({ signal }) => {
      runs.push(signal.aborted);
      await new Promise<void>((resolve) => void clock.runtime.timer(3000, resolve));
    });
    const settled = bus.settled(Orders, { group: "billing" });
    await clock.run(bus.publish(Orders, { orderId: "o-1" }));
    expect(await clock.run(settled)).toMatchObject({ fate: "done" });
    expect(runs).toEqual([false, false]);
    await clock.run(bus.close());
  });

  test("no limit: 0, and undefined from a function", async () => {
    for (const limit of [0, () => undefined] as const) {
      const { bus, clock } = await limited(
        limit,
        () => new Promise<void>((resolve) => void clock.runtime.timer(30_000, resolve)),
      );
      const settled = bus.settled(Orders, { group: "billing" });
      await clock.run(bus.publish(Orders, { orderId: "o-1" }));
      expect(await clock.run(settled)).toMatchObject({ fate: "done" });
      await clock.run(bus.close());
    }
  });

  test("a handler that does not listen is left to the subscription's own limit", async () => {
    const never = new Promise<never>(() => undefined);
    const { bus, clock, subscription } = await limited("1s", () => never, "10s");
    await clock.run(bus.publish(Orders, { orderId: "o-1" }));
    await clock.advance(5000);
    expect(subscription.health()).toMatchObject({ running: 1, counters: { retried: 0, stuck: 0 } });
    await clock.until(() => subscription.health().counters.stuck > 0);
    await clock.run(subscription.close());
    await clock.run(bus.close());
  });

  test("refuses an illegal duration at once, one of a function at the run", async () => {
    expect(() => timeout("5 minutes" as Duration)).toThrow("timeout is");
    const { bus, clock } = await limited(
      () => -1,
      () => undefined,
    );
    const settled = bus.settled(Orders, { group: "billing" });
    await clock.run(bus.publish(Orders, { orderId: "o-1" }));
    expect(await clock.run(settled)).toMatchObject({ fate: "dead-letter" });
    await clock.run(bus.close());
  });
});
