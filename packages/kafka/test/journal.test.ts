import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Stretch, countStart, decodeJournal, encodeJournal, startsAt, startsFrom } from "../src/journal.ts";

describe("journal", () => {
  test("survives the way through the commit's metadata", () => {
    const journal = {
      epoch: 1_795_000_000_000,
      born: 8,
      starts: [
        { upto: 20, count: 2 },
        { upto: 57, count: 1 },
      ],
      finished: [22, 23, 24, 40],
    };
    expect(encodeJournal(journal)).toBe("sluice1 1795000000000 8 20:2 57:1 22+3 40+1");
    expect(decodeJournal(encodeJournal(journal))).toEqual(journal);
    expect(decodeJournal(encodeJournal({ ...journal, starts: [] }))).toEqual({ ...journal, starts: [] });
    expect(decodeJournal(encodeJournal({ ...journal, finished: [] }))).toEqual({ ...journal, finished: [] });
    expect(decodeJournal("sluice1 1 2")).toEqual({ epoch: 1, born: 2, starts: [], finished: [] });
  });

  test.each(["", "{}", "sluice1", "sluice1 1", "sluice1 1 2 x", "sluice2 1 2", "sluice1 -1 2"])(
    "does not take %j for its own",
    (text) => {
      expect(decodeJournal(text)).toBeUndefined();
    },
  );

  test("fits into 4,096 units whatever happens, and leaves out rather than inventing", () => {
    const starts = Array.from({ length: 500 }, (_, index): Stretch => ({
      upto: Number.MAX_SAFE_INTEGER - 1_000 + index,
      count: 999_999,
    }));
    const finished = Array.from({ length: 2_000 }, (_, index) => 1_000_000 + index * 2);
    const metadata = encodeJournal({ epoch: Number.MAX_SAFE_INTEGER, born: 999_999, starts, finished });
    expect(metadata.length).toBeLessThanOrEqual(4_096);
    const read = decodeJournal(metadata);
    expect(read?.finished.length).toBeGreaterThan(100);
    expect(finished.slice(0, read?.finished.length)).toEqual(read?.finished);
  });

  test("counts starts as a plain list of counters would", () => {
    const range = fc.record({ from: fc.integer({ min: 0, max: 40 }), length: fc.integer({ min: 1, max: 30 }) });
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), (ranges) => {
        // Positions only grow, as commits do.
        let position = 0;
        let starts: readonly Stretch[] = [];
        const plain = new Map<number, number>();
        for (const { from, length } of ranges) {
          position = Math.max(position, from);
          starts = countStart(starts, position, position + length);
          for (let offset = position; offset < position + length; offset += 1)
            plain.set(offset, (plain.get(offset) ?? 0) + 1);
        }
        for (let offset = position; offset < 80; offset += 1)
          expect(startsAt(starts, offset)).toBe(plain.get(offset) ?? 0);
      }),
    );
  });

  test("forgets what is behind the position", () => {
    expect(
      startsFrom(
        [
          { upto: 5, count: 2 },
          { upto: 9, count: 1 },
        ],
        5,
      ),
    ).toEqual([{ upto: 9, count: 1 }]);
  });
});
