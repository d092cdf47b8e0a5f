import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { levels } from "../src/delay-ladder.ts";
import { names } from "../src/names.ts";
import { rabbitmq } from "../src/rabbitmq.ts";
import { shardName } from "../src/routing.ts";

/** Words that the scheme itself uses are the likely collisions. */
const word = fc.oneof(
  fc.constantFrom(
    "a",
    "b",
    "dlq",
    "all",
    "members",
    "0",
    "01",
    "b1",
    "sluice",
    "delay",
    "due",
    "1s",
    "%2E",
    "%64lq",
    "%",
  ),
  fc.stringMatching(/^[a-z0-9%]{1,4}$/),
);
const dotted = fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join("."));

const { queue, deadLetters, members, broadcast, exchange, ladder, due } = names("");

const roles = {
  queue: (topic: string, group: string) => queue(topic, group),
  deadLetters: (topic: string, group: string) => deadLetters(topic, group),
  members: (topic: string, group: string) => members(topic, group),
  onlyShard: (topic: string, group: string) => `${queue(topic, group)}.${shardName(0, 0)}`,
  shard: (topic: string, group: string) => `${queue(topic, group)}.${shardName(2, 2)}`,
  broadcast: (topic: string, group: string) => broadcast(topic, group, "i", 1),
} as const;

const thing = fc.record({
  topic: dotted.filter((topic) => !`${topic}.`.startsWith("sluice.delay.")),
  group: dotted,
  role: fc.constantFrom(...(Object.keys(roles) as (keyof typeof roles)[])),
});

describe("names", () => {
  test("of two different things are never the same", () => {
    fc.assert(
      fc.property(thing, thing, (one, other) => {
        const same = one.topic === other.topic && one.group === other.group && one.role === other.role;
        const name = roles[one.role](one.topic, one.group);
        expect(name === roles[other.role](other.topic, other.group)).toBe(same);
      }),
      { numRuns: 5_000 },
    );
  });

  test("of broadcast instances are never the same", () => {
    fc.assert(
      fc.property(fc.tuple(dotted, word, word, fc.nat(20)), fc.tuple(dotted, word, word, fc.nat(20)), (one, other) => {
        fc.pre(!`${one[0]}.`.startsWith("sluice.delay.") && !`${other[0]}.`.startsWith("sluice.delay."));
        expect(broadcast(...one) === broadcast(...other)).toBe(one.join("\0") === other.join("\0"));
      }),
    );
  });

  test("meet no queue and no exchange of the delay ladder", () => {
    const taken = new Set([due(), ...Array.from({ length: levels }, (_, level) => ladder(level))]);
    fc.assert(
      fc.property(thing, ({ topic, group, role }) => {
        expect(taken.has(roles[role](topic, group))).toBe(false);
        expect(taken.has(exchange(topic))).toBe(false);
      }),
    );
    expect(roles.shard("sluice", "delay")).toBe("sluice.delay.01");
  });

  test.each(["amq.topic", "amq.x", "sluice.delay", "sluice.delay.1s"])("topic %s is refused", (topic) => {
    const refusal = expect.objectContaining({ code: "CONFIG", message: expect.stringContaining(`topic "${topic}"`) });
    expect(() => exchange(topic)).toThrow(refusal);
    expect(() => queue(topic, "g")).toThrow(refusal);
  });

  test("a prefix stands before every name", () => {
    const prefixed = names("acme-");
    expect(prefixed.exchange("amq.topic")).toBe("acme-amq.topic");
    expect(prefixed.queue("orders", "billing")).toBe("acme-orders.billing");
    expect(prefixed.ladder(3)).toBe("acme-sluice.delay.8s");
    expect(prefixed.due()).toBe("acme-sluice.delay.due");
  });

  test("above 255 bytes are refused, naming the number", () => {
    expect(exchange("x".repeat(255))).toHaveLength(255);
    expect(() => exchange("x".repeat(256))).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringContaining("256 bytes") }),
    );
  });

  test.each([["x".repeat(61)], ["amq.mine"]])("prefix %s is refused", (prefix) => {
    expect(() => rabbitmq({ prefix })).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringContaining("prefix") }),
    );
  });
});
