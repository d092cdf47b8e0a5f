import { expect, test } from "vitest";
import { names, shardOf } from "../src/names.ts";
import { bySlot, slotOf } from "../src/slots.ts";

const all = (topic: string, group: string, prefix = "") => {
  const some = names(prefix);
  return [
    some.stream(topic, 0),
    some.stream(topic, 3),
    some.own(topic, group, 0),
    some.own(topic, group, 3),
    some.deadLetters(topic, group),
    some.meta(topic),
    some.lease(topic, group, 0),
    some.members(topic, group),
    ...some.delayed(topic),
    some.writes(topic),
  ];
};

test("names of a topic", () => {
  expect(all("orders.placed", "billing", "shop.")).toEqual([
    "shop.orders.placed",
    "{shop.orders.placed}:shard:3",
    "{shop.orders.placed}:own:0:billing",
    "{shop.orders.placed}:own:3:billing",
    "{shop.orders.placed}:dlq:billing",
    "{shop.orders.placed}:meta",
    "{shop.orders.placed}:lease:0:billing",
    "{shop.orders.placed}:members:billing",
    "{shop.orders.placed}:delayed",
    "{shop.orders.placed}:delayed:records",
    "{shop.orders.placed}:delayed:counts",
    "{shop.orders.placed}:write:",
  ]);
});

test("different words never give the same name", () => {
  const words = ["a", "a.b", "b", "a:dlq", "{a}", "{a}:dlq:b", "a%7Bb", "a{b", "}a", "a}", "meta", "dlq", "0", "own"];
  const ofTopic = words.flatMap((topic) => {
    const { stream, meta, delayed, writes } = names("");
    return [stream(topic, 0), stream(topic, 1), meta(topic), ...delayed(topic), writes(topic)];
  });
  const ofGroup = words.flatMap((topic) =>
    words.flatMap((group) => {
      const { own, deadLetters, lease, members } = names("");
      return [
        own(topic, group, 0),
        own(topic, group, 1),
        deadLetters(topic, group),
        lease(topic, group, 0),
        members(topic, group),
      ];
    }),
  );
  expect(new Set([...ofTopic, ...ofGroup]).size).toBe(words.length * 7 + words.length ** 2 * 5);
});

test("all names of a topic have one slot, also with braces in them", () => {
  for (const topic of ["orders", "a{b}c", "{}", "}{", "{x}.y", "ü"]) {
    expect(new Set(all(topic, "{g}", "{p").map(slotOf)).size).toBe(1);
  }
});

test("slots are those of the server", () => {
  // As `CLUSTER KEYSLOT` answers.
  expect(["foo", "bar", "123456789", "{user1000}.following", "foo{}{bar}", "foo{{bar}}zap"].map(slotOf)).toEqual([
    12182, 5061, 12739, 3443, 8363, 4015,
  ]);
  const groups = bySlot([{ stream: "foo" }, { stream: "bar" }, { stream: "{foo}:x" }]);
  expect(groups.map((group) => group.map(({ stream }) => stream))).toEqual([["foo", "{foo}:x"], ["bar"]]);
});

test("a key has one shard, as text and as bytes", () => {
  for (const key of ["", "k", "Grüße", "customer-7"]) expect(shardOf(key, 8)).toBe(shardOf(Buffer.from(key), 8));
  // FNV-1a of "a" is 0xe40c292c.
  expect(shardOf("a", 2 ** 32)).toBe(0xe40c292c);
  const spread = new Set(Array.from({ length: 200 }, (_, index) => shardOf(`key-${index}`, 8)));
  expect(spread.size).toBe(8);
});

test("too long names are refused, with both numbers", () => {
  expect(() => names("").stream("x".repeat(513), 0)).toThrow(/has 513 bytes.*\(512\)/);
});
