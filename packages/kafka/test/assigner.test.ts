import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Assignment, type Wish, distribute } from "../src/assigner.ts";

const ids = (count: number): number[] => Array.from({ length: count }, (_, id) => id);
const owners = (assignment: Assignment, topic: string): Map<number, string[]> => {
  const found = new Map<number, string[]>();
  for (const [memberId, topics] of assignment) {
    for (const id of topics[topic] ?? []) found.set(id, [...(found.get(id) ?? []), memberId]);
  }
  return found;
};

describe("distribute", () => {
  test("every partition has exactly one owner, who wants its topic, and shares are even", () => {
    const member = fc.record({
      topics: fc.subarray(["a", "b", "c"]),
      claims: fc.array(fc.integer({ min: 0, max: 9 })),
    });
    fc.assert(
      fc.property(fc.array(member, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 9 }), (members, size) => {
        const wishes = members.map(({ topics, claims }, index): Wish => ({
          memberId: `m${index}`,
          topics,
          owned: Object.fromEntries(topics.map((topic) => [topic, claims])),
        }));
        const partitions = new Map(["a", "b", "c"].map((topic) => [topic, ids(size)]));
        const assignment = distribute(wishes, partitions);
        for (const topic of partitions.keys()) {
          const readers = wishes.filter(({ topics }) => topics.includes(topic));
          const found = owners(assignment, topic);
          expect([...found.keys()].sort((one, other) => one - other)).toEqual(readers.length === 0 ? [] : ids(size));
          for (const [owner, ...others] of found.values()) {
            expect(others).toEqual([]);
            expect(readers.map(({ memberId }) => memberId)).toContain(owner);
          }
          const shares = readers.map(({ memberId }) => assignment.get(memberId)?.[topic]?.length ?? 0);
          expect(
            Math.max(0, ...shares) - Math.min(...shares, ...(readers.length === 0 ? [0] : [])),
          ).toBeLessThanOrEqual(1);
        }
      }),
    );
  });

  test("leaves partitions where they are as far as that is even", () => {
    const partitions = new Map([["a", ids(6)]]);
    const wishes: Wish[] = [
      { memberId: "m2", topics: ["a"], owned: { a: [0, 1, 2] } },
      { memberId: "m1", topics: ["a"], owned: { a: [3, 4, 5] } },
      { memberId: "m0", topics: ["a"], owned: {} },
    ];
    const assignment = distribute(wishes, partitions);
    expect(assignment.get("m2")?.["a"]).toEqual([0, 1]);
    expect(assignment.get("m1")?.["a"]).toEqual([3, 4]);
    expect(assignment.get("m0")?.["a"]).toEqual([2, 5]);
  });

  test("a topic with fewer partitions than members stays where it is too, unless that member has enough", () => {
    const partitions = new Map(["a", "b", "c"].map((topic) => [topic, [0]]));
    const topics = [...partitions.keys()];
    const wishes: Wish[] = [
      { memberId: "m1", topics, owned: { a: [0], b: [0], c: [0] } },
      { memberId: "m2", topics, owned: {} },
    ];
    const assignment = distribute(wishes, partitions);
    expect(assignment.get("m1")).toEqual({ a: [0], b: [0] });
    expect(assignment.get("m2")).toEqual({ c: [0] });
  });

  test("a topic that nobody wants is nobody's", () => {
    expect(distribute([{ memberId: "m", topics: [], owned: {} }], new Map([["a", ids(2)]])).get("m")).toEqual({});
  });
});
