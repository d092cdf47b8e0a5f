import { nodeRuntime } from "@sluice/core";
import type { Source } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import type { AdminClient } from "../src/client.ts";
import { encodeJournal, type Stretch, startsBefore } from "../src/journal.ts";
import { StartPositions } from "../src/starts.ts";

const source: Source = { topic: "orders", group: "billing", start: "earliest" };

/** What a new holder of partition 0 begins with, and for which topics it asked where the log ends. */
async function begins(starts: readonly Stretch[], high: number) {
  const asked: string[] = [];
  const metadata = encodeJournal({ epoch: 7, born: 0, starts, finished: [] });
  const admin: Partial<AdminClient> = {
    committedAt: async () => [{ topic: "orders", partition: 0, offset: 10, metadata }],
    async ends(topics) {
      asked.push(...topics);
      return new Map(topics.map((topic) => [topic, new Map([[0, { low: 0, high }]])]));
    },
  };
  const positions = new StartPositions({
    admin: admin as AdminClient,
    runtime: nodeRuntime,
    groupId: "billing.orders",
    broadcast: false,
    topics: new Map([["orders", { topic: "orders", source, entry: false }]]),
    opening: new Map(),
    remembered: new Map(),
    vanished: new Set(),
  });
  const [begin] = await positions.of([{ topic: "orders", partition: 0 }]);
  return { begin, asked };
}

describe("where reading begins", () => {
  test("holders that died while nothing came accuse nothing that comes later", async () => {
    const { begin } = await begins([{ upto: 266, count: 5 }], 10);
    expect(begin).toMatchObject({ position: 10, starts: [] });
  });

  test("what was there when they died stays accused", async () => {
    const accused = [
      { upto: 12, count: 3 },
      { upto: 266, count: 1 },
    ];
    expect((await begins(accused, 15)).begin?.starts).toEqual([
      { upto: 12, count: 3 },
      { upto: 15, count: 1 },
    ]);
  });

  test("the end of the log is asked for only where somebody did not end in order", async () => {
    expect((await begins([], 15)).asked).toEqual([]);
    expect((await begins([{ upto: 12, count: 1 }], 15)).asked).toEqual(["orders"]);
  });
});

describe("marks of records before an offset", () => {
  const starts = [
    { upto: 5, count: 2 },
    { upto: 9, count: 1 },
  ];
  test.each([
    [20, starts],
    [9, starts],
    [
      7,
      [
        { upto: 5, count: 2 },
        { upto: 7, count: 1 },
      ],
    ],
    [5, [{ upto: 5, count: 2 }]],
    [3, [{ upto: 3, count: 2 }]],
  ])("before %i", (end, expected) => {
    expect(startsBefore(starts, end)).toEqual(expected);
  });
});
