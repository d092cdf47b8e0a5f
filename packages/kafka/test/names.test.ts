import { DriverError } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { deadLetterTopic, delayTopic, groupIdOf, retryTopic, tierMsOf, topicOf, topicsOf } from "../src/names.ts";
import { topologyOf } from "../src/topology.ts";

const group = (name: string) => ({ name, start: "earliest" as const, retry: true, deadLetter: true });
const topic = (name: string, ...groups: string[]) => ({
  name,
  ordered: true,
  shards: 8,
  delays: false,
  groups: groups.map(group),
});

describe("names", () => {
  test("destinations and sources meet in the same topics", () => {
    expect(topicOf({ topic: "orders" })).toBe("orders");
    expect(topicOf({ topic: "orders", group: "billing" })).toBe("orders.billing.retry");
    expect(topicOf({ topic: "orders", group: "billing", deadLetter: true })).toBe("orders.billing.dlq");
    expect(topicsOf({ topic: "orders", group: "billing", start: "now" }, "ns")).toEqual([
      "orders",
      "orders.billing.retry",
    ]);
    expect(topicsOf({ topic: "orders", group: "billing", deadLetter: true }, "ns")).toEqual(["orders.billing.dlq"]);
    expect(topicsOf({ topic: "orders", broadcast: "b", instance: "i" }, "ns")).toEqual(["orders"]);
    expect(topicsOf({ delayed: true }, "ns")).toContain("ns.delay.4s");
    expect(tierMsOf("ns", delayTopic("ns", "4s"))).toBe(4_000);
  });

  test("dots in topics and groups do not make two things one", () => {
    expect(retryTopic("a.b", "c")).not.toBe(retryTopic("a", "b.c"));
    expect(deadLetterTopic("a.b", "c")).not.toBe(deadLetterTopic("a", "b.c"));
    const one = groupIdOf({ topic: "c", group: "a.b", start: "now" }, "ns");
    const other = groupIdOf({ topic: "b.c", group: "a", start: "now" }, "ns");
    expect(one).not.toBe(other);
  });
});

describe("topology", () => {
  test("lists what must exist", () => {
    const names = topologyOf({ topics: [{ ...topic("orders", "billing"), delays: true }] }, "ns").map(
      ({ name }) => name,
    );
    expect(names.slice(0, 3)).toEqual(["orders", "orders.billing.retry", "orders.billing.dlq"]);
    expect(names).toContain("ns.delay.0s");
    expect(names).toContain("ns.delay.1d");
  });

  test("a group that begins now is written down", () => {
    const resources = topologyOf(
      { topics: [{ ...topic("orders"), groups: [{ ...group("billing"), start: "now" }] }] },
      "ns",
    );
    expect(resources.at(-1)).toEqual({
      kind: "group",
      name: "billing.orders",
      settings: { topic: "orders", start: "now" },
    });
  });

  test("refuses names that collide or are too long", () => {
    expect(() => topologyOf({ topics: [topic("orders", "billing"), topic("orders.billing.retry")] }, "ns")).toThrow(
      DriverError,
    );
    expect(() => topologyOf({ topics: [topic("t".repeat(128), "g".repeat(128))] }, "ns")).toThrow(/above the 249/);
  });
});
