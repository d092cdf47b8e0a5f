import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { names } from "../src/names.ts";

const letters = Array.from("abcxyzABC019._-");
const word = fc
  .tuple(
    fc.constantFrom(...letters.filter((letter) => /[A-Za-z0-9]/.test(letter))),
    fc.string({ unit: fc.constantFrom(...letters), maxLength: 127 }),
  )
  .map(([first, rest]) => first + rest);

function all(prefix: string, topic: string, group: string): string[] {
  const made = names(prefix);
  return [false, true].flatMap((fifo) => [
    made.queue(topic, group, fifo),
    made.deadLetters(topic, group, fifo),
    made.broadcast(topic, group, "0199-instance", fifo),
  ]);
}

describe("names", () => {
  test("read like what they stand for", () => {
    const made = names("shop-");
    expect(made.topic("orders.placed", false)).toBe("shop-orders_-placed");
    expect(made.topic("orders.placed", true)).toBe("shop-orders_-placed.fifo");
    expect(made.queue("orders.placed", "billing", false)).toBe("shop-orders_-placed_to-billing");
    expect(made.deadLetters("orders", "billing", true)).toBe("shop-orders_to-billing_dlq.fifo");
    expect(made.waiting()).toBe("shop-sluice_delayed");
  });

  test("are legal, whatever the words", () => {
    fc.assert(
      fc.property(word, word, (topic, group) => {
        for (const queue of all("", topic, group)) expect(queue).toMatch(/^[A-Za-z0-9_-]{1,80}(\.fifo)?$/);
        for (const queue of all("p", topic, group)) expect(queue.length).toBeLessThanOrEqual(80);
        expect(names("").topic(topic, true)).toMatch(/^[A-Za-z0-9_-]{1,251}\.fifo$/);
      }),
    );
  });

  test("differ where the words differ", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(word, word), { minLength: 2, maxLength: 6 }), (pairs) => {
        const different = new Map(pairs.map(([topic, group]) => [`${topic} ${group}`, [topic, group] as const]));
        const made = [...different.values()].flatMap(([topic, group]) => all("", topic, group));
        expect(new Set([...made, names("").waiting()]).size).toBe(made.length + 1);
      }),
    );
  });

  test.each([
    [
      ["a.b", "c"],
      ["a", "b.c"],
    ],
    [
      ["a-b", "c"],
      ["a.b", "c"],
    ],
    [
      ["a_", "b"],
      ["a", "_b"],
    ],
    [
      ["a", "b_dlq"],
      ["a_to-b", "dlq"],
    ],
    [
      ["sluice_delayed", "g"],
      ["sluice.delayed", "g"],
    ],
  ] as const)("%s and %s never meet", (one, other) => {
    const found = new Set([...all("", one[0], one[1]), ...all("", other[0], other[1])]);
    expect(found.size).toBe(12);
  });
});
