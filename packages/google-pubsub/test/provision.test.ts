import { simulation } from "@sluice/memory";
import type { protos } from "@google-cloud/pubsub";
import { describe, expect, test } from "vitest";
import { names } from "../src/names.ts";
import { settings } from "../src/options.ts";
import { provision, toNative } from "../src/provision.ts";
import { topology } from "../src/topology.ts";
import { FakeCalls } from "./support/calls.ts";

type NativeSubscription = protos.google.pubsub.v1.ISubscription;

const signal = new AbortController().signal;
const billing = { name: "billing", start: "now", retry: true, deadLetter: true } as const;
const topics = [{ name: "orders", ordered: false, shards: 1, delays: false, groups: [billing] }];

/** What `verify` says of the group's subscription when the broker has it as planned, but for this. */
async function verify(changed: Partial<NativeSubscription>) {
  const calls = new FakeCalls();
  const resources = topology({ topics }, names(""), settings({})).filter(
    ({ kind, name }) => kind === "subscription" && name === "orders~billing",
  );
  const parts = { channels: calls, runtime: simulation().runtime, project: "p", emulator: false, seen() {} };
  const findings = provision(resources, "verify", signal, parts);
  const [wanted] = resources;
  (await calls.next()).answer({ ...(wanted && toNative(wanted, "p")), ...changed });
  return (await findings).map(({ state, detail }) => `${state}: ${detail}`);
}

describe("verify", () => {
  test("says nothing of what is as planned, or keeps more", async () => {
    expect(await verify({})).toEqual([]);
    expect(await verify({ messageRetentionDuration: { seconds: 31 * 86_400 } })).toEqual([]);
  });

  test.each<readonly [string, Partial<NativeSubscription>, RegExp]>([
    ["no dead-letter policy", { deadLetterPolicy: null }, /no dead-letter policy.*topics\/orders~billing~dlq/],
    [
      "too few attempts",
      { deadLetterPolicy: { deadLetterTopic: "projects/p/topics/orders~billing~dlq", maxDeliveryAttempts: 5 } },
      /maxDeliveryAttempts is 5, use 10 or more/,
    ],
    [
      "dead letters that go elsewhere",
      { deadLetterPolicy: { deadLetterTopic: "_deleted-topic_", maxDeliveryAttempts: 100 } },
      /go to _deleted-topic_, wanted projects\/p\/topics\/orders~billing~dlq/,
    ],
    [
      "short retention",
      { messageRetentionDuration: { seconds: 600 } },
      /older than 600 s are deleted, wanted 604800 s/,
    ],
    ["an end without readers", { expirationPolicy: { ttl: { seconds: 86_400 } } }, /expires .* after 86400 s/],
  ])("%s loses data", async (_what, changed, detail) => {
    const findings = await verify(changed);
    expect(findings).toEqual([expect.stringMatching(detail)]);
    expect(findings[0]).toMatch(/^loses-data/);
  });
});
