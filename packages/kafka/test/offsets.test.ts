import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PrefixTracker, type Tracked } from "../src/offsets.ts";

const entry = (offset: number): Tracked => ({ offset, done: false });

describe("PrefixTracker", () => {
  test("commits the longest finished prefix, whatever the order of finishing", () => {
    const gapsAndOrder = fc.array(fc.record({ gap: fc.integer({ min: 1, max: 4 }), rank: fc.integer() }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(gapsAndOrder, fc.integer({ min: 0, max: 60 }), (steps, crashAfter) => {
        const tracker = new PrefixTracker<Tracked>(0);
        let offset = -1;
        const entries = steps.map(({ gap }) => entry((offset += gap)));
        for (const one of entries) expect(tracker.add(one)).toBe(true);
        const order = entries
          .map((one, index) => ({ one, rank: steps[index]?.rank ?? 0 }))
          .toSorted((a, b) => a.rank - b.rank);
        for (const { one } of order.slice(0, crashAfter)) tracker.finish(one);
        const unfinished = entries.filter(({ done }) => !done);
        // Nothing unfinished is skipped by a restart from the position, and what is before it needs no replay.
        expect(tracker.position).toBe(unfinished[0]?.offset ?? offset + 1);
        const ahead = entries.filter((one) => one.done && one.offset > tracker.position);
        expect(tracker.finishedAhead()).toEqual(ahead.map((one) => one.offset));
      }),
    );
  });

  test("refuses what was read before", () => {
    const tracker = new PrefixTracker<Tracked>(5);
    expect(tracker.add(entry(4))).toBe(false);
    expect(tracker.add(entry(5))).toBe(true);
    expect(tracker.add(entry(5))).toBe(false);
  });

  test("steps over control records at the end, and over gaps", () => {
    const tracker = new PrefixTracker<Tracked>(0);
    const only = entry(0);
    tracker.add(only);
    tracker.reach(3);
    expect(tracker.position).toBe(0);
    tracker.finish(only);
    expect(tracker.position).toBe(3);
    tracker.add(entry(7));
    expect(tracker.position).toBe(7);
  });

  test("forgets the tail that nobody has seen", () => {
    const tracker = new PrefixTracker<Tracked & { out: boolean }>(0);
    for (let offset = 0; offset < 6; offset += 1) tracker.add({ offset, done: false, out: offset < 3 });
    expect(tracker.forget(({ out }) => out)).toBe(3);
    expect(tracker.size).toBe(3);
    expect(tracker.add({ offset: 3, done: false, out: false })).toBe(true);
  });

  test("holds no memory behind the position", () => {
    const tracker = new PrefixTracker<Tracked>(0);
    for (let offset = 0; offset < 50_000; offset += 1) {
      const one = entry(offset);
      tracker.add(one);
      tracker.finish(one);
    }
    expect(tracker.size).toBe(0);
    expect(tracker.position).toBe(50_000);
  });
});
