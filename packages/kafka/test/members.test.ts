import type { Source } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import type { MemberContext } from "../src/membering.ts";
import { membersOf } from "../src/members.ts";
import { normalize } from "../src/options.ts";

/** Every topic has one partition, those called `wide` a hundred. */
function members(sources: readonly Source[], sharedGroups: boolean) {
  const partitions = async (topics: readonly string[]) =>
    new Map(topics.filter((topic) => topic !== "missing").map((topic) => [topic, topic.startsWith("wide") ? 100 : 1]));
  const context = {
    config: normalize({ brokers: ["localhost:9092"], sharedGroups }),
    client: { admin: { partitions } },
  } as unknown as MemberContext; // only these are looked at
  return membersOf(sources, context);
}

const topics = (count: number, name = "t"): Source[] =>
  Array.from({ length: count }, (_, index) => ({ topic: `${name}${index}`, group: "g", start: "now" }));

describe("the consumers of a receiver", () => {
  test("a topic is one, with its own entry", async () => {
    const [only, ...others] = await members(topics(1), false);
    expect(others).toEqual([]);
    expect([...(only?.topics.keys() ?? [])]).toEqual(["t0", "_t0.g.retry"]);
    expect(only).toMatchObject({ groupId: "g.t0", suffix: "", fetchWait: 250 });
  });

  test("a thousand topics in a shared group are few, of about the same size, with every topic once", async () => {
    const found = await members(topics(1_000), true);
    expect(found).toHaveLength(16);
    expect(new Set(found.map(({ groupId }) => groupId))).toEqual(new Set(["g"]));
    expect(new Set(found.map(({ suffix }) => suffix)).size).toBe(16);
    const sizes = found.map(({ topics: theirs }) => theirs.size);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(128);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(2_000);
    expect(new Set(found.flatMap(({ topics: theirs }) => [...theirs.keys()])).size).toBe(2_000);
    for (const { fetchWait } of found) expect(fetchWait).toBe(5_000);
  });

  test("a topic of many partitions has one for itself", async () => {
    const found = await members([...topics(2, "wide"), ...topics(1)], true);
    expect(found.map(({ topics: theirs }) => theirs.size)).toEqual([2, 4]);
  });

  test("without a shared group, very many topics are refused, naming the option", async () => {
    await expect(members(topics(101), false)).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("sharedGroups: true"),
    });
  });

  test("a broadcast instance has one for all of its topics", async () => {
    const sources: Source[] = ["a", "b"].map((topic) => ({ topic, broadcast: "b", instance: "i" }));
    expect((await members(sources, false)).map(({ groupId }) => groupId)).toEqual(["b:i"]);
  });

  test("a missing topic is named", async () => {
    await expect(members([{ topic: "missing", group: "g", start: "now" }], false)).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining('"missing"'),
    });
  });
});
