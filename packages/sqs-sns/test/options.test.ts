import { describe, expect, test } from "vitest";
import { limits } from "../src/capabilities.ts";
import { settings, type SqsSnsOptions } from "../src/options.ts";
import { sqsSns } from "../src/sqs-sns.ts";

describe("options", () => {
  test("defaults", () => {
    expect(settings({})).toMatchObject({ visibilitySeconds: 30, waitSeconds: 20, pollers: 28, prefix: "" });
  });

  test.each<SqsSnsOptions>([
    { prefix: "a.b" },
    { prefix: "x".repeat(31) },
    { accountId: "12" },
    { endpoint: "localhost:4566" },
    { visibilitySeconds: 1 },
    { visibilitySeconds: 43_201 },
    { waitSeconds: 0 },
    { waitSeconds: 21 },
    { pollers: 0 },
    { maxReceiveCount: 19 },
    { retentionSeconds: 59 },
    { maxMessageBytes: 1_048_577 },
  ])("%j is refused", (options) => {
    expect(() => sqsSns(options)).toThrow(expect.objectContaining({ code: "CONFIG" }));
  });

  test("the limit of a body leaves room for base64 and for every attribute", () => {
    const { messageBytes, headersBytes } = limits(settings({}));
    expect(Math.ceil(messageBytes / 3) * 4 + headersBytes).toBeLessThan(262_144);
    expect(limits(settings({ maxMessageBytes: 1_048_576 })).messageBytes).toBeGreaterThan(700_000);
  });
});
