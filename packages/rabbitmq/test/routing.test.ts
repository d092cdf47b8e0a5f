import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashBits, murmur2, routingKey, shardName, shardOf, shardPatterns } from "../src/routing.ts";

/** What a topic exchange does with a pattern. */
function matches(pattern: string, key: string): boolean {
  const match = (words: readonly string[], rest: readonly string[]): boolean => {
    const [word, ...others] = words;
    if (word === undefined) return rest.length === 0;
    if (word === "#") return match(others, rest) || (rest.length > 0 && match(words, rest.slice(1)));
    return rest.length > 0 && (word === "*" || word === rest[0]) && match(others, rest.slice(1));
  };
  return match(pattern.split("."), key.split("."));
}

describe("routing", () => {
  // The values of Kafka's Java client, so that other tools compute the same shard.
  test.each([
    ["21", -973932308],
    ["foobar", -790332482],
    ["a-little-bit-long-string", -985981536],
    ["a-little-bit-longer-string", -1486304829],
    ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
    ["abc", 479470107],
  ])("murmur2 of %s", (text, expected) => {
    expect(murmur2(Buffer.from(text)) | 0).toBe(expected);
  });

  test("the routing key has all bits of the hash, the lowest first", () => {
    expect(routingKey("abc")).toBe(
      `k.${Array.from({ length: hashBits }, (_, bit) => (479470107 >>> bit) & 1).join(".")}`,
    );
    expect(routingKey(Buffer.from("abc"))).toBe(routingKey("abc"));
    expect(routingKey(null)).toBe("u");
    expect(routingKey("")).not.toBe("u");
  });

  test("a key matches exactly the queue that its own entry goes to, with and without a delay", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: "grapheme" }), fc.uint8Array(), fc.constant(null)),
        fc.integer({ min: 0, max: 6 }),
        fc.integer({ min: 1, max: 2 ** 28 - 1 }),
        (key, bits, seconds) => {
          const delayed = `${routingKey(key)}.${seconds.toString(2).split("").join(".")}`;
          for (const wire of [routingKey(key), delayed]) {
            const kept = Array.from({ length: 2 ** bits }, (_, shard) => shard).filter((shard) =>
              shardPatterns(shard, bits, "orders.placed").some((pattern) => matches(pattern, wire)),
            );
            expect(kept).toEqual([shardOf(key, bits)]);
          }
        },
      ),
    );
  });

  test("the first queue keeps what foreign producers send without a key", () => {
    expect(shardPatterns(0, 2, "orders.placed")).toEqual(["k.0.0.#", "u.#", "", "orders.placed"]);
    expect(shardPatterns(1, 2, "orders.placed")).toEqual(["k.1.0.#"]);
    expect(shardPatterns(0, 0, "any.*")).toEqual(["k.#", "u.#", ""]);
  });

  test("names of shards", () => {
    expect([0, 1, 2, 3].map((shard) => shardName(shard, 2))).toEqual(["00", "10", "01", "11"]);
    expect(shardName(0, 0)).toBe("all");
  });
});
