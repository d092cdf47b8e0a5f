import type { DeclaredTopic } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { googlePubsub } from "../src/google-pubsub.ts";
import { names } from "../src/names.ts";
import { settings } from "../src/options.ts";
import { toNative } from "../src/provision.ts";
import { topology } from "../src/topology.ts";

function topic(more: Partial<DeclaredTopic> = {}): DeclaredTopic {
  const billing = { name: "billing", start: "now", retry: true, deadLetter: true } as const;
  return { name: "orders.placed", ordered: false, shards: 8, delays: false, groups: [billing], ...more };
}

describe("topology", () => {
  test("of a group", () => {
    expect(googlePubsub().topology({ topics: [topic()] })).toMatchSnapshot();
  });

  test("delays bring the waiting place, once, shared", () => {
    const resources = googlePubsub().topology({
      topics: [topic({ delays: true }), topic({ name: "b", delays: true })],
    });
    const shared = resources.filter((each) => each.shared);
    expect(shared.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "topic sluice~~delayed",
      "subscription sluice~~delayed",
    ]);
  });

  test("an ordered topic has ordered subscriptions, but for its dead letters", () => {
    const [all] = [googlePubsub().topology({ topics: [topic({ ordered: true })] })];
    expect(all.filter(({ settings }) => settings["ordered"]).map(({ name }) => name)).toEqual([
      "orders.placed~billing",
      "orders.placed~billing~retry",
    ]);
  });

  test("a filter holds for the group and not for its own entry", () => {
    const groups = [{ name: "g", start: "now", retry: true, deadLetter: true, filter: { region: "eu" } }] as const;
    const resources = googlePubsub().topology({ topics: [topic({ groups })] });
    expect(resources.filter(({ settings }) => settings["filter"]).map(({ name }) => name)).toEqual(["orders.placed~g"]);
  });

  const may = (role: "publish" | "consume", declared: DeclaredTopic) =>
    googlePubsub()
      .topology({ topics: [declared] })
      .map(({ kind, name, actions }) => {
        const verbs = (actions?.[role] ?? []).map((action) => action.slice(`pubsub.${kind}s.`.length));
        return `${kind} ${name}: ${verbs.join(" ")}`;
      });

  test("a member of a group sends to its own entry and its dead letters, and sends on what was delayed", () => {
    expect(may("consume", topic({ delays: true }))).toEqual([
      "topic sluice~~delayed: publish get",
      "subscription sluice~~delayed: consume get",
      "topic orders.placed: publish get",
      "topic orders.placed~billing~dlq: publish get",
      "subscription orders.placed~billing~dlq: consume get",
      "subscription orders.placed~billing: consume get",
      "topic orders.placed~billing~retry: publish get",
      "subscription orders.placed~billing~retry: consume get",
    ]);
    expect(may("consume", topic())).toContain("topic orders.placed: get");
  });

  test("who only publishes reads nothing but what was delayed, and sends that on", () => {
    expect(may("publish", topic({ delays: true }))).toEqual([
      "topic sluice~~delayed: publish get",
      "subscription sluice~~delayed: consume get",
      "topic orders.placed: publish get",
      "topic orders.placed~billing~dlq: get",
      "subscription orders.placed~billing~dlq: get",
      "subscription orders.placed~billing: get",
      "topic orders.placed~billing~retry: publish get",
      "subscription orders.placed~billing~retry: get",
    ]);
    expect(may("publish", topic())).toContain("topic orders.placed~billing~retry: get");
  });

  test("the API's subscription never expires, and counts deliveries", () => {
    const [resource] = topology({ topics: [topic()] }, names(""), settings({ exactlyOnce: true })).filter(
      ({ name }) => name === "orders.placed~billing",
    );
    expect(resource && toNative(resource, "p")).toEqual({
      name: "projects/p/subscriptions/orders.placed~billing",
      topic: "projects/p/topics/orders.placed",
      ackDeadlineSeconds: 60,
      messageRetentionDuration: { seconds: 604_800 },
      retainAckedMessages: true,
      enableMessageOrdering: false,
      enableExactlyOnceDelivery: true,
      expirationPolicy: {},
      deadLetterPolicy: { deadLetterTopic: "projects/p/topics/orders.placed~billing~dlq", maxDeliveryAttempts: 100 },
    });
  });
});
