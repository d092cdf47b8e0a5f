import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { leavesAt, tierFor, tiers } from "../src/delays.ts";

const msOf = (name: string): number => tiers.find((tier) => tier.name === name)?.ms ?? Number.NaN;

describe("waiting places", () => {
  test.each([
    [1, "0s"],
    [3_999, "0s"],
    [4_000, "4s"],
    [59_999, "15s"],
    [60_000, "1m"],
    [86_400_000 * 30, "1d"],
  ])("%i ms wait in %s", (remaining, name) => {
    expect(tierFor(remaining)).toBe(name);
  });

  test("hops end exactly when the record is due, never before, after few hops", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 86_400_000 }), (delay) => {
        let now = 0;
        let hops = 0;
        while (now < delay) {
          now = leavesAt(msOf(tierFor(delay - now)), now, delay);
          hops += 1;
        }
        expect(now).toBe(delay);
        expect(hops).toBeLessThanOrEqual(25);
      }),
    );
  });
});
