import { describe, expect, test } from "vitest";
import { kafka } from "../src/index.ts";
import { normalize } from "../src/options.ts";

const brokers = ["localhost:9092"];

describe("options", () => {
  test("defaults are safe", () => {
    expect(normalize({ brokers })).toMatchObject({
      ssl: false,
      names: { prefix: "", sharedGroups: false },
      replicationFactor: -1,
      sessionTimeout: 30_000,
      heartbeatInterval: 1_000,
      fetchWait: 250,
      requestTimeout: 30_000,
      connectionTimeout: 9_000,
      metadataMaxAge: 60_000,
    });
  });

  test.each([
    [{ brokers: [] }, /brokers is empty/],
    [{ brokers: ["localhost"] }, /"localhost" is no address/],
    [{ brokers: ["localhost:99999"] }, /is no address/],
    [{ brokers, prefix: "a b" }, /prefix "a b"/],
    [{ brokers, sessionTimeout: 6_000, heartbeatInterval: 3_000 }, /heartbeatInterval 3000 is above a third/],
    [{ brokers, sessionTimeout: 6_000, fetchWait: 5_000 }, /fetchWait 5000 is above a third/],
  ])("%j is refused", (options, message) => {
    expect(() => kafka(options)).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringMatching(message) }),
    );
  });
});
