import type { Position } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import type { AdminClient, CommitPosition } from "../src/client.ts";
import { decodeJournal, encodeJournal } from "../src/journal.ts";
import { Names } from "../src/names.ts";
import { seekGroup } from "../src/seeking.ts";

const source = { topic: "orders", group: "billing", start: "now" } as const;

/** A topic of two partitions, 10–100 and 20–200; the group has committed 50 in the first. */
async function seek(to: Position, refusal?: unknown): Promise<readonly CommitPosition[]> {
  const moved: CommitPosition[] = [];
  const starts = [{ upto: 60, count: 1 }];
  const metadata = encodeJournal({ epoch: 7, born: 2, starts, finished: [55] });
  const admin: Partial<AdminClient> = {
    ends: async (topics) =>
      new Map(
        topics.map((topic) => [
          topic,
          new Map([
            [0, { low: 10, high: 100 }],
            [1, { low: 20, high: 200 }],
          ]),
        ]),
      ),
    offsetsFrom: async () => new Map([[0, 42]]),
    committed: async () => [{ topic: "orders", partition: 0, offset: 50, metadata }],
    async commitIdle(groupId, positions) {
      if (refusal !== undefined) throw refusal;
      expect(groupId).toBe("billing.orders");
      moved.push(...positions);
    },
  };
  await seekGroup(admin as AdminClient, new Names("", false), source, to);
  return moved;
}

describe("seek", () => {
  test.each<[string, Position, readonly (readonly [number, number])[]]>([
    [
      "the beginning",
      "earliest",
      [
        [0, 10],
        [1, 20],
      ],
    ],
    [
      "the end",
      "now",
      [
        [0, 100],
        [1, 200],
      ],
    ],
    [
      "a time, and the end where nothing is so late",
      { time: 1 },
      [
        [0, 42],
        [1, 200],
      ],
    ],
    ["offsets by partition", { native: "1:33" }, [[1, 33]]],
  ])("goes to %s", async (_what, to, expected) => {
    const moved = await seek(to);
    expect(moved.map(({ partition, offset }) => [partition, offset])).toEqual(expected);
  });

  test("forgets what was started and finished, and keeps the fence growing", async () => {
    const [first] = await seek("earliest");
    expect(decodeJournal(first?.metadata ?? "")).toEqual({ epoch: 7, born: 2, starts: [], finished: [] });
  });

  test("says that the group has members", async () => {
    const refusal = Object.assign(new Error("unknown member"), { type: "UNKNOWN_MEMBER_ID" });
    await expect(seek("now", refusal)).rejects.toMatchObject({ code: "BUSY" });
  });

  test.each(["", "x", "1", "9:5", "0:1,"])("refuses %j as a position", async (native) => {
    await expect(seek({ native })).rejects.toMatchObject({ code: "CONFIG" });
  });
});
