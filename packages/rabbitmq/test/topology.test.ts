import type { DeclaredTopic } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { names } from "../src/names.ts";
import { rabbitmq } from "../src/rabbitmq.ts";

function topic(more: Partial<DeclaredTopic> = {}): DeclaredTopic {
  const billing = { name: "billing", start: "now", retry: true, deadLetter: true } as const;
  return { name: "orders.placed", ordered: false, shards: 8, delays: false, groups: [billing], ...more };
}

function plan(topics: readonly DeclaredTopic[], namespace?: string): readonly string[] {
  const driver = rabbitmq(namespace === undefined ? {} : { namespace });
  return driver.topology({ topics }).map(({ kind, name }) => `${kind} ${name}`);
}

describe("topology", () => {
  test("of an unordered group", () => {
    expect(rabbitmq().topology({ topics: [topic()] })).toMatchSnapshot();
  });

  test("of an ordered group with two shards", () => {
    expect(rabbitmq().topology({ topics: [topic({ ordered: true, shards: 2 })] })).toMatchSnapshot();
  });

  test("classic queues carry no argument that they do not know", () => {
    const [queue] = rabbitmq({ queueType: "classic" })
      .topology({ topics: [topic()] })
      .filter(({ kind, name }) => kind === "queue" && name === "orders.placed.billing");
    expect(Object.keys(queue?.settings ?? {})).not.toContain("x-delivery-limit");
    expect(queue?.settings["x-queue-type"]).toBe("classic");
  });

  test("delays bring the ladder, once, before what it leads to", () => {
    const listed = plan([topic({ delays: true }), topic({ name: "other", delays: true })]);
    expect(listed.filter((each) => each === "queue sluice.delay.27")).toHaveLength(1);
    expect(listed).toContain("binding sluice.delay.due -> queue orders.placed.billing");
    expect(listed).toContain("binding sluice.delay.due -> exchange other");
  });

  test("shards are rounded up to a power of two, and bounded", () => {
    expect(plan([topic({ ordered: true, shards: 5 })]).filter((each) => /^queue .*\.[01]{3}$/.test(each))).toHaveLength(
      8,
    );
    expect(() => plan([topic({ ordered: true, shards: 2_000 })])).toThrow(expect.objectContaining({ code: "CONFIG" }));
  });

  test("a namespace stands before every name", () => {
    for (const each of plan([topic({ delays: true })], "acme")) expect(each).toMatch(/^\w+ acme\./);
  });

  test("twice the same", () => {
    expect(plan([topic({ delays: true })])).toEqual(plan([topic({ delays: true })]));
  });
});

describe("names", () => {
  const { queue, deadLetters, broadcast, exchange, members } = names("");

  test("of different things never meet", () => {
    const words = ["a", "b", "a.b", "dlq", "0", "01", "b1", "all", "members", "a%2Eb", "%64lq", "1"];
    const all = new Map<string, string>();
    const add = (name: string, what: string) => {
      expect(all.get(name) ?? what).toBe(what);
      all.set(name, what);
    };
    for (const topicName of ["t", "t.a", "t.a.b", "t.0", "t.a.dlq"]) {
      for (const word of words) {
        add(queue(topicName, word), `queue ${topicName}|${word}`);
        add(deadLetters(topicName, word), `dead ${topicName}|${word}`);
        add(members(topicName, word), `members ${topicName}|${word}`);
        for (const shard of ["all", "0", "1", "00", "01"])
          add(`${queue(topicName, word)}.${shard}`, `${topicName}|${word}|${shard}`);
        for (const other of words) add(broadcast(topicName, word, other, 1), `broadcast ${topicName}|${word}|${other}`);
      }
    }
  });

  test("above 255 bytes are refused, naming the number", () => {
    expect(exchange("x".repeat(255))).toHaveLength(255);
    expect(() => exchange("x".repeat(256))).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringContaining("256 bytes") }),
    );
  });
});

describe("options", () => {
  test.each([
    [{ url: "http://host" }, /amqp: or amqps:/],
    [{ url: "no url secret" }, /cannot be parsed/],
    [{ url: "amqp://a%zz@host" }, /percent-encoding/],
    [{ urls: [] }, /urls is empty/],
    [{ heartbeat: 0 }, /heartbeat is 0/],
    [{ deliveryLimit: 3 }, /deliveryLimit is 3/],
  ])("%j is refused", (options, message) => {
    expect(() => rabbitmq(options)).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringMatching(message) }),
    );
  });

  test("an unusable url never shows its password", () => {
    const shown = (error: unknown) => `${String(error)}${JSON.stringify(error)}`.includes("hidden");
    expect(() => rabbitmq({ url: "http://user:hidden@host" })).toThrow(expect.toSatisfy((error) => !shown(error)));
  });
});
