import type { GroupSource } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { toSeek } from "../src/seek.ts";

const source: GroupSource = { topic: "orders", group: "billing", start: "now" };
const options = { project: "p", wallMs: 1_700_000_000_123, retainAcked: true };

describe("seek", () => {
  test("a time has all its milliseconds", () => {
    expect(toSeek(source, { time: 1_700_000_000_123 }, options)).toEqual({
      time: { seconds: 1_700_000_000, nanos: 123_000_000 },
    });
  });

  test("now and earliest", () => {
    expect(toSeek(source, "now", options)).toEqual({ time: { seconds: 1_700_000_000, nanos: 123_000_000 } });
    expect(toSeek(source, "earliest", options)).toEqual({ time: { seconds: 1, nanos: 0 } });
  });

  test("a snapshot by its name or its path", () => {
    const snapshot = "projects/p/snapshots/before-release";
    expect(toSeek(source, { native: "before-release" }, options)).toEqual({ snapshot });
    expect(toSeek(source, { native: snapshot }, options)).toEqual({ snapshot });
    expect(() => toSeek(source, { native: "no such/name" }, options)).toThrow(
      expect.objectContaining({ code: "CONFIG" }),
    );
  });

  test("back in time only where settled messages are kept; forward always", () => {
    const forgetful = { ...options, retainAcked: false };
    expect(() => toSeek(source, "earliest", forgetful)).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
    expect(toSeek(source, "now", forgetful)).toHaveProperty("time");
    expect(toSeek(source, { native: "snap" }, forgetful)).toHaveProperty("snapshot");
  });
});
