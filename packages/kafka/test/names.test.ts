import fc from "fast-check";
import type { Source } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { Names } from "../src/names.ts";
import { topologyOf } from "../src/topology.ts";

const group = (name: string) => ({ name, start: "earliest" as const, retry: true, deadLetter: true });
const topic = (name: string, ...groups: string[]) => ({
  name,
  ordered: true,
  shards: 8,
  delays: false,
  groups: groups.map(group),
});
const names = new Names("", false);

describe("names", () => {
  test("destinations and sources meet in the same topics, behind the prefix", () => {
    const test = new Names("test-", false);
    expect(test.destination({ topic: "orders" })).toBe("test-orders");
    expect(test.destination({ topic: "orders", group: "billing" })).toBe("test-_orders.billing.retry");
    expect(test.destination({ topic: "orders", group: "billing", deadLetter: true })).toBe("test-_orders.billing.dlq");
    expect(test.topics({ topic: "orders", group: "billing", start: "now" })).toEqual([
      "test-orders",
      "test-_orders.billing.retry",
    ]);
    expect(test.topics({ topic: "orders", group: "billing", deadLetter: true })).toEqual(["test-_orders.billing.dlq"]);
    expect(test.topics({ topic: "orders", broadcast: "b", instance: "i" })).toEqual(["test-orders"]);
    expect(test.topics({ delayed: true })).toContain("test-_sluice.delay.4s");
    expect(test.tierMs(test.delay("4s"))).toBe(4_000);
    expect(test.groupId({ topic: "orders", group: "billing", start: "now" })).toBe("test-billing.orders");
  });

  test("a shared group has one name for all of its topics", () => {
    const shared = new Names("", true);
    const [one, other] = ["a", "b"].map((name) => shared.groupId({ topic: name, group: "billing", start: "now" }));
    expect(one).toBe("billing");
    expect(other).toBe(one);
  });

  test("no two topics, groups or roles share a name", () => {
    const name = fc.stringMatching(/^[ab][ab._-]{0,6}$/);
    const role = fc.constantFrom("topic", "retry", "dlq");
    const place = fc.record({ topic: name, group: name, role });
    const nameOf = ({ topic, group, role }: { topic: string; group: string; role: string }): string => {
      if (role === "topic") return names.topic(topic);
      return role === "retry" ? names.retry(topic, group) : names.deadLetter(topic, group);
    };
    fc.assert(
      fc.property(place, place, (one, other) => {
        const same = one.topic === other.topic && one.role === other.role;
        if (same && (one.role === "topic" || one.group === other.group)) return;
        expect(nameOf(one)).not.toBe(nameOf(other));
      }),
      { numRuns: 3_000 },
    );
    const kinds = ["group", "dlq", "broadcast"] as const;
    const sourceOf = (kind: string, topic: string, group: string): Source => {
      if (kind === "broadcast") return { topic: "t", broadcast: group, instance: topic };
      return kind === "dlq" ? { topic, group, deadLetter: true } : { topic, group, start: "now" };
    };
    fc.assert(
      fc.property(name, name, name, name, fc.constantFrom(...kinds), fc.constantFrom(...kinds), (a, b, c, d, k, l) => {
        if (k === l && a === c && b === d) return;
        expect(names.groupId(sourceOf(k, a, b))).not.toBe(names.groupId(sourceOf(l, c, d)));
      }),
      { numRuns: 3_000 },
    );
  });
});

describe("topology", () => {
  test("lists what must exist", () => {
    const resources = topologyOf({ topics: [{ ...topic("orders", "billing"), delays: true }] }, names);
    const found = resources.map(({ name }) => name);
    expect(found.slice(0, 3)).toEqual(["orders", "_orders.billing.retry", "_orders.billing.dlq"]);
    expect(found).toContain("_sluice.delay.0s");
    expect(found).toContain("_sluice.delay.1d");
  });

  test("a group that begins now is written down", () => {
    const resources = topologyOf(
      { topics: [{ ...topic("orders"), groups: [{ ...group("billing"), start: "now" }] }] },
      names,
    );
    expect(resources).toContainEqual(
      expect.objectContaining({ kind: "group", name: "billing.orders", settings: { topic: "orders", start: "now" } }),
    );
  });

  test("refuses names that are too long", () => {
    expect(() => topologyOf({ topics: [topic("t".repeat(128), "g".repeat(128))] }, names)).toThrow(/above the 249/);
  });
});
