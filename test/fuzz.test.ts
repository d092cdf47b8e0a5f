import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { account } from "../integration/fuzz/bus.ts";
import { corpus } from "../integration/fuzz/corpus.ts";
import { grouped } from "../integration/fuzz/report.ts";
import { fuzz, inputOf, probe } from "../integration/fuzz/run.ts";
import { Broken, sample, type Target } from "../integration/fuzz/target.ts";
import { allTargets } from "../integration/fuzz/targets/index.ts";

let targets: readonly Target[] = [];
beforeAll(async () => {
  targets = await allTargets();
});
afterAll(async () => {
  for (const target of targets) await target.close?.();
});

describe("hostile inputs", () => {
  it("crash nothing and stall nothing, and each target reads some of them", { timeout: 60_000 }, async () => {
    const { findings, targets: tallies } = await fuzz({ inputs: 2000, seed: 1, targets });
    expect(grouped(findings)).toEqual([]);
    expect(Object.entries(tallies).filter(([, { inputs }]) => inputs === 0)).toEqual([]);
  });

  it("that once broke something do so no more", async () => {
    expect(await corpus(targets)).toEqual([]);
  });

  it("are lost nowhere on a bus: handled, or dead-lettered with their own bytes", async () => {
    const { sent, handled, deadLettered, dropped, problems } = await account(200, 1);
    expect(problems).toEqual([]);
    expect(handled + deadLettered + dropped).toBe(sent);
    expect(Math.min(handled, deadLettered)).toBeGreaterThan(0);
  });
});

describe("the run itself", () => {
  const target = (run: Target["run"]): Target => ({
    name: "t",
    golden: [sample("x")],
    expected: (error) => error instanceof RangeError,
    run,
  });
  const input = { ...sample("x"), seed: 1 };

  /** Of processor time: on a machine with other work the clock goes faster. */
  const spin = (ms: number) => {
    const usedMs = () => process.threadCpuUsage().user / 1000;
    const endMs = usedMs() + ms;
    while (usedMs() < endMs);
  };

  it("makes the same inputs from the same seed", () => {
    const inputs = (seed: number) =>
      Array.from({ length: 50 }, (_, index) => inputOf(targets, seed, index).sample.bytes.toString("hex"));
    expect(inputs(7)).toEqual(inputs(7));
    expect(inputs(7)).not.toEqual(inputs(8));
  });

  it("finds errors that are not promised, wrong results, and stalls", async () => {
    const throwing = (error: unknown) =>
      target(() => {
        throw error;
      });
    const stalling = target(() => spin(60));
    expect(await probe(throwing(new RangeError("promised")), input)).toEqual([]);
    expect(await probe(throwing(new TypeError("surprise")), input)).toEqual([["error", "TypeError: surprise"]]);
    expect(await probe(throwing(new Broken("wrong")), input)).toEqual([["broken", "Broken: wrong"]]);
    expect(
      await probe(
        target(() => Promise.reject(new TypeError("late"))),
        input,
      ),
    ).toEqual([["error", "TypeError: late"]]);
    expect((await probe(stalling, input)).map(([kind]) => kind)).toEqual(["slow"]);
  });

  it("does not take a single slow moment for a stall", async () => {
    let runs = 0;
    const once = target(() => {
      spin(runs++ === 0 ? 60 : 0);
    });
    expect(await probe(once, input)).toEqual([]);
    expect(runs).toBe(6);
  });
});
