import { describe, expect, test } from "vitest";
import { names } from "../src/names.ts";

describe("names", () => {
  test("of everything that belongs to a topic", () => {
    const { topic, group, entry, deadLetters, broadcast, waiting } = names("");
    expect(topic("orders.placed")).toBe("orders.placed");
    expect(group("orders.placed", "billing")).toBe("orders.placed~billing");
    expect(entry("orders.placed", "billing")).toBe("orders.placed~billing~retry");
    expect(deadLetters("orders.placed", "billing")).toBe("orders.placed~billing~dlq");
    expect(broadcast("orders.placed", "cache", "i-1")).toBe("orders.placed~cache~i-1~broadcast");
    expect(waiting()).toBe("sluice~~delayed");
  });

  test("a prefix stands before all of them", () => {
    const all = names("acme.");
    expect(all.group("orders", "g")).toBe("acme.orders~g");
    expect(all.topic("1st")).toBe("acme.1st");
    expect(all.waiting()).toBe("acme.sluice~~delayed");
  });

  test.each(["1st", "goog.x", "Google", "ab", "a"])("%s gets a legal beginning", (name) => {
    expect(names("").topic(name)).toBe(`sluice~~~${name}`);
  });

  test("nothing shares a name with something else", () => {
    const words = ["a", "abc", "abc.retry", "abc.g.dlq", "sluice", "retry", "dlq", "broadcast", "delayed", "1", "goog"];
    const { topic, group, entry, deadLetters, broadcast, waiting } = names("");
    const subscriptions = [
      waiting(),
      ...words.flatMap((one) =>
        words.flatMap((other) => [
          group(one, other),
          entry(one, other),
          deadLetters(one, other),
          ...words.map((instance) => broadcast(one, other, instance)),
        ]),
      ),
    ];
    expect(new Set(subscriptions).size).toBe(subscriptions.length);
    const topics = [
      waiting(),
      ...words.map(topic),
      ...words.flatMap((one) => words.flatMap((other) => [entry(one, other), deadLetters(one, other)])),
    ];
    expect(new Set(topics).size).toBe(topics.length);
  });

  test("one that is too long is refused, not cut", () => {
    expect(() => names("").entry("t".repeat(128), "g".repeat(128))).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringContaining("263") }),
    );
  });
});
