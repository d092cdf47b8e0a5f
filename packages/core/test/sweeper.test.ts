import { connect, topic } from "@sluice/core";
import { type Connection, type Driver, DriverError } from "@sluice/core/driver";
import { memory, simulation } from "@sluice/memory";
import { expect, test } from "vitest";

function sweeping(sweep: NonNullable<Connection["sweep"]>): Driver {
  const inner: Driver = memory();
  return { ...inner, connect: async (context) => Object.assign(await inner.connect(context), { sweep }) };
}

test("every few minutes the driver sweeps, also after one that failed; a closed bus leaves no timer", async () => {
  const clock = simulation();
  const at: number[] = [];
  const driver = sweeping(() => {
    at.push(clock.runtime.monotonicMs());
    return at.length === 1 ? Promise.reject(new DriverError("UNAVAILABLE", "memory: not now")) : Promise.resolve(1);
  });
  const said: string[] = [];
  const note = (_fields: object, message: string): void => void said.push(message);
  const logger = { debug: note, info: note, warn: note, error: note };
  const bus = await connect(driver, { runtime: clock.runtime, logger });
  await clock.run(bus.subscribe(topic("news"), { broadcast: "all" }, () => {}));
  await clock.advance(1_200_000);
  expect(at.length).toBeGreaterThanOrEqual(3);
  expect(at.length).toBeLessThanOrEqual(8);
  expect(said.slice(0, 2)).toEqual([
    "what dead broadcast instances left could not be removed",
    "removed what dead broadcast instances left",
  ]);
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("a sweep that hangs is given up, and holds up no close", async () => {
  const clock = simulation();
  let aborted = 0;
  const driver = sweeping(
    (signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          aborted++;
          reject(new DriverError("ABORTED", "memory: sweep: ended by its signal"));
        });
      }),
  );
  const bus = await connect(driver, { runtime: clock.runtime });
  await clock.advance(600_000);
  expect(aborted).toBe(1);
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});
