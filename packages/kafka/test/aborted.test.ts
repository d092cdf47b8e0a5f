import { describe, expect, test } from "vitest";
import { type FetchedPartition, hideAborted } from "../src/kafkajs/aborted.ts";

type Message = FetchedPartition["messages"][number];

/** `a` writes, `A` ends producer a's transaction, `-` is written outside of any. */
function partition(log: string, aborted: readonly (readonly [producer: string, first: number])[], from = 0) {
  const messages: Message[] = log.split("").map((letter, index) => ({
    offset: String(from + index),
    key: null,
    isControlRecord: letter !== "-" && letter === letter.toUpperCase(),
    batchContext: { producerId: letter.toLowerCase(), inTransaction: letter !== "-" },
  }));
  const abortedTransactions = aborted.map(([producerId, first]) => ({ producerId, firstOffset: String(first) }));
  return { messages, abortedTransactions };
}

/** What kafkajs hands out. */
function shown(fetched: FetchedPartition, log: string): string {
  hideAborted(fetched);
  expect(fetched.abortedTransactions ?? []).toEqual([]);
  return fetched.messages.map(({ isControlRecord }, index) => (isControlRecord ? "." : log[index])).join("");
}

describe("records of aborted transactions", () => {
  test.each([
    ["one", "-a-aA-a", [["a", 1]], "-.-..-a"],
    [
      "two of one producer, and one that it committed",
      "aAaAaA",
      [
        ["a", 0],
        ["a", 4],
      ],
      "..a...",
    ],
    [
      "two that overlap, listed by their ends",
      "abBaA-",
      [
        ["b", 1],
        ["a", 0],
      ],
      ".....-",
    ],
    [
      "three that overlap, beside one that is committed",
      "cabBacAaC",
      [
        ["b", 2],
        ["a", 1],
      ],
      "c....c.a.",
    ],
    ["one that began before what was fetched", "aAa", [["a", -7]], "..a"],
    [
      "two that began before what was fetched",
      "BAab",
      [
        ["b", -3],
        ["a", -7],
      ],
      "..ab",
    ],
    ["one that ends after what was fetched", "-aa", [["a", 1]], "-.."],
  ] as const)("%s", (_what, log, aborted, expected) => {
    expect(shown(partition(log, aborted), log)).toBe(expected);
  });

  test("nothing is touched without any", () => {
    const log = "aA-";
    expect(shown({ ...partition(log, []), abortedTransactions: null }, log)).toBe("a.-");
  });

  test("offsets are compared as numbers, also beyond what a double holds", () => {
    const messages = [{ ...partition("a", []).messages[0], offset: "9007199254740993" }] as Message[];
    const after = { messages, abortedTransactions: [{ producerId: "a", firstOffset: "9007199254740994" }] };
    expect(shown(after, "a")).toBe("a");
  });
});
