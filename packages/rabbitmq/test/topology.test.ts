import type { DeclaredTopic } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { rabbitmq } from "../src/rabbitmq.ts";

function topic(more: Partial<DeclaredTopic> = {}): DeclaredTopic {
  const billing = { name: "billing", start: "now", retry: true, deadLetter: true } as const;
  return { name: "orders.placed", ordered: false, shards: 8, delays: false, groups: [billing], ...more };
}

function plan(topics: readonly DeclaredTopic[], prefix?: string): readonly string[] {
  const driver = rabbitmq(prefix === undefined ? {} : { prefix });
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
    expect(listed.filter((each) => each === "queue sluice.delay.134217728s")).toHaveLength(1);
    expect(listed).toContain("binding sluice.delay.due -> queue orders.placed.billing");
    expect(listed).toContain("binding sluice.delay.due -> exchange other");
  });

  test("shards are rounded up to a power of two, and bounded", () => {
    expect(plan([topic({ ordered: true, shards: 5 })]).filter((each) => /^queue .*\.[01]{3}$/.test(each))).toHaveLength(
      8,
    );
    expect(() => plan([topic({ ordered: true, shards: 2_000 })])).toThrow(expect.objectContaining({ code: "CONFIG" }));
  });

  test("a prefix stands before every name", () => {
    for (const each of plan([topic({ delays: true })], "acme-")) expect(each).toMatch(/^\w+ acme-/);
  });

  test("says what each role must be allowed to do, and what is shared", () => {
    const resources = rabbitmq().topology({ topics: [topic({ delays: true, ordered: true, shards: 2 })] });
    const actionsOf = (name: string) => resources.find((each) => each.name === name)?.actions;
    expect(actionsOf("orders.placed")?.publish).toEqual(["write"]);
    expect(actionsOf("orders.placed.billing.0")?.consume).toEqual(["read", "write amq.default"]);
    expect(resources.filter(({ kind, actions }) => kind !== "shards" && !actions?.provision?.length)).toEqual([]);
    const ladder = /^sluice\.delay\.\w+( -> (queue|exchange) sluice\..*)?$/;
    expect(resources.filter(({ name, shared }) => (shared === true) !== ladder.test(name))).toEqual([]);
  });

  test("twice the same", () => {
    expect(plan([topic({ delays: true })])).toEqual(plan([topic({ delays: true })]));
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
