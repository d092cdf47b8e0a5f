import { expect, test } from "vitest";
import { googlePubsub } from "../src/google-pubsub.ts";
import { type GooglePubsubOptions, settings } from "../src/options.ts";

test("defaults", () => {
  expect(settings({})).toEqual({
    projectId: undefined,
    endpoint: undefined,
    client: undefined,
    prefix: "",
    intake: "stream",
    leaseSeconds: 60,
    exactlyOnce: false,
    retainAcked: true,
    retentionDays: 7,
    topicRetentionHours: 0,
    deliveryLimit: 100,
    heartbeatMs: 30_000,
  });
});

const wrong: readonly (readonly [name: string, options: GooglePubsubOptions])[] = [
  ["projectId", { projectId: "projects/x" }],
  ["endpoint", { endpoint: "http://a b" }],
  ["prefix", { prefix: "google" }],
  ["prefix", { prefix: "a~b" }],
  ["prefix", { prefix: "1" }],
  ["leaseSeconds", { leaseSeconds: 9 }],
  ["leaseSeconds", { leaseSeconds: 601 }],
  ["retentionDays", { retentionDays: 0 }],
  ["topicRetentionHours", { topicRetentionHours: 745 }],
  ["deliveryLimit", { deliveryLimit: 5 }],
  ["heartbeat", { heartbeat: 0.5 }],
];

test.each(wrong)("a wrong %s is refused at once, by name", (name, options) => {
  expect(() => googlePubsub(options)).toThrow(
    expect.objectContaining({
      code: "CONFIG",
      message: expect.stringMatching(new RegExp(`^google-pubsub: ${name} is `)),
    }),
  );
});
