import { describe, expect, test } from "vitest";
import { murmur2, partitionOf } from "../src/partitioner.ts";

/** From Kafka's own `UtilsTest.testMurmur2`. */
const golden: readonly (readonly [string, number])[] = [
  ["21", -973932308],
  ["foobar", -790332482],
  ["a-little-bit-long-string", -985981536],
  ["a-little-bit-longer-string", -1486304829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
  ["abc", 479470107],
];

describe("murmur2", () => {
  test.each(golden)("of %j is Java's", (key, hash) => {
    expect(murmur2(Buffer.from(key))).toBe(hash);
  });

  test("an empty key is hashed", () => {
    expect(murmur2(new Uint8Array(0))).toBe(275646681);
  });

  test("a partition is never negative, also for hashes that are", () => {
    for (const [key, hash] of golden) {
      expect(partitionOf(Buffer.from(key), 12)).toBe((hash & 0x7fffffff) % 12);
    }
  });
});
