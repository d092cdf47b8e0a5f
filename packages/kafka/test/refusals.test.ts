import { nodeRuntime } from "@sluice/core";
import { DriverError, type Runtime } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { Refusals } from "../src/refusals.ts";

const refusal = new DriverError("FORBIDDEN", 'kafka: cannot send 2 records to "a", "b": not authorized');
const items = ["a", "b", "a", "c", "b"].map((topic, n) => ({ topic, n }));

function open() {
  const clock = { ms: 0 };
  const runtime: Runtime = { ...nodeRuntime, monotonicMs: () => clock.ms };
  return { clock, refusals: new Refusals(runtime) };
}

describe("topics that may not be written", () => {
  test("without a refusal everything goes together", () => {
    const { refusals } = open();
    expect(refusals.apart(items)).toEqual([items]);
  });

  test("after a refusal of several, those that are not known to work go alone, in order, and are tried again", () => {
    const { refusals } = open();
    refusals.stored(["c", "d"]);
    const told = refusals.refused(["a", "b"], refusal);
    expect(told).toMatchObject({ code: "UNAVAILABLE", retryable: true, cause: refusal });
    expect(told.message).toContain('"a", "b": not authorized');
    expect(refusals.apart(items)).toEqual([
      [
        { topic: "a", n: 0 },
        { topic: "a", n: 2 },
      ],
      [
        { topic: "b", n: 1 },
        { topic: "b", n: 4 },
      ],
      [{ topic: "c", n: 3 }],
    ]);
    refusals.stored(["a"]);
    expect(refusals.apart(items).map((part) => part.map(({ n }) => n))).toEqual([
      [0, 2, 3],
      [1, 4],
    ]);
  });

  test("one that worked before is under suspicion again", () => {
    const { refusals } = open();
    refusals.stored(["a", "b"]);
    refusals.refused(["a", "b"], refusal);
    expect(refusals.apart(items)).toHaveLength(3);
  });

  test("a refusal of one topic counts for five seconds", () => {
    const { refusals, clock } = open();
    expect(refusals.refused(["a"], refusal)).toBe(refusal);
    expect(refusals.of("a")).toBe(refusal);
    expect(refusals.of("b")).toBeUndefined();
    clock.ms = 5_000;
    expect(refusals.of("a")).toBeUndefined();
  });
});
