import { describe, expect, test } from "vitest";
import { simulation } from "@sluice/memory";

describe("simulation", () => {
  test("timers ring in the order of their times, at their times, with all that they cause", async () => {
    const clock = simulation({ start: 1_000 });
    const { runtime } = clock;
    const log: string[] = [];
    const note = (name: string) => log.push(`${name}@${clock.now()}`);
    runtime.timer(20, () => note("b"));
    runtime.timer(10, () => {
      note("a");
      runtime.timer(5, () => note("a+5"));
      void Promise.resolve().then(() => runtime.defer(() => note("deferred")));
    });
    runtime.timer(20, () => note("c"));
    runtime.timer(30, () => note("late"));
    const cancel = runtime.timer(15, () => note("cancelled"));
    cancel();
    expect(clock.timers).toBe(4);
    await clock.advance(25);
    expect(log).toEqual(["a@1010", "deferred@1010", "a+5@1015", "b@1020", "c@1020"]);
    expect([clock.now(), runtime.monotonicMs(), clock.timers]).toEqual([1_025, 25, 1]);
  });

  test("the same seed gives the same numbers and ids, another one others", () => {
    const take = (seed?: number) => {
      const { runtime } = simulation(seed === undefined ? {} : { seed });
      return [runtime.random(), runtime.id(), runtime.random()];
    };
    expect(take()).toEqual(take(1));
    expect(take(1)).not.toEqual(take(2));
    expect(take()[1]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test("run moves the clock until a promise settles, and passes its value or its error on", async () => {
    const clock = simulation();
    const wait = (ms: number) => new Promise<void>((resolve) => clock.runtime.timer(ms, resolve));
    const startMs = clock.now();
    expect(
      await clock.run(
        wait(86_400_000 - 1).then(() => "done"),
        86_400_000,
      ),
    ).toBe("done");
    expect(clock.now() - startMs).toBe(86_399_999);
    await expect(clock.run(Promise.reject(new Error("no")))).rejects.toThrow("no");
  });

  test("what never happens is an error, not a hang", async () => {
    const clock = simulation();
    clock.runtime.timer(10, () => undefined);
    await expect(clock.until(() => false)).rejects.toThrow(/simulation: nothing left to happen/);
    await expect(clock.run(new Promise(() => undefined), 5)).rejects.toThrow(/within 5 ms/);
    await clock.advance(1);
  });

  test("timers that are due ring in settle; calls that overlap run one after another", async () => {
    const clock = simulation({ start: 0 });
    let rung = 0;
    clock.runtime.timer(0, () => rung++);
    await clock.settle();
    expect(rung).toBe(1);
    await Promise.all([clock.advance(10), clock.advance(10)]);
    expect(clock.now()).toBe(20);
  });

  test("cancelled timers take no memory and no time", async () => {
    const clock = simulation();
    for (let index = 0; index < 10_000; index++) clock.runtime.timer(30_000 + index, () => undefined)();
    let rung = false;
    clock.runtime.timer(40_000, () => (rung = true));
    expect(clock.timers).toBe(1);
    await clock.advance(40_000);
    expect(rung).toBe(true);
  });
});
