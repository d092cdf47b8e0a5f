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

  test("says what each role must be allowed to do", () => {
    for (const { kind, actions } of googlePubsub().topology({ topics: [topic()] })) {
      expect(actions?.provision).toContain(`pubsub.${kind}s.create`);
      expect(kind === "topic" ? actions?.publish : actions?.consume).toBeDefined();
    }
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
