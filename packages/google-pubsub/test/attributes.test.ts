import { type Headers, emptyHeaders } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { fromAttributes, toAttributes } from "../src/attributes.ts";

function headers(all: Record<string, string>): Headers {
  return Object.assign(emptyHeaders(), all);
}

function thereAndBack(all: Headers): Headers {
  const attributes = toAttributes(all, { "sluice-id": "1" });
  expect(Object.keys(attributes).length).toBeLessThanOrEqual(94);
  for (const [name, value] of Object.entries(attributes)) {
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(256);
    expect(Buffer.byteLength(value)).toBeLessThanOrEqual(1_024);
    expect(name).not.toMatch(/^(goog|$)/);
  }
  return fromAttributes(attributes, (name) => name === "sluice-id");
}

describe("attributes", () => {
  test("plain headers are attributes as they are", () => {
    expect(toAttributes(headers({ "x-a": "1", "content-type": "application/json" }), {})).toEqual({
      "x-a": "1",
      "content-type": "application/json",
    });
  });

  const proto = emptyHeaders();
  proto["__proto__"] = "polluted";

  test.each<readonly [string, Headers]>([
    ["an empty name", headers({ "": "x" })],
    ["a reserved name", headers({ "goog-a": "x", googclient_b: "y" })],
    ["a name of 257 bytes", headers({ ["n".repeat(257)]: "x" })],
    ["a value of 1,025 bytes", headers({ big: "v".repeat(1_025), small: "1" })],
    ["a value of 60,000 bytes", headers({ big: "v".repeat(60_000) })],
    ["a value that is not well-formed", headers({ half: "\ud800" })],
    ["values that are not ASCII", headers({ text: "Grüße 🦊 ".repeat(200) })],
    ["256 headers", headers(Object.fromEntries(Array.from({ length: 256 }, (_, n) => [`h${n}`, `${n}`])))],
    ["__proto__", proto],
  ])("%s survives", (_, all) => {
    expect(thereAndBack(all)).toEqual(all);
  });

  test("what does not fit at all is refused with both numbers", () => {
    expect(() => toAttributes(headers({ big: "v".repeat(100_000) }), {})).toThrow(
      expect.objectContaining({ code: "TOO_LARGE", message: expect.stringMatching(/100012 bytes, and \d+ is/) }),
    );
  });

  test("what the service and the client library add is not shown", () => {
    const native = { CloudPubSubDeadLetterSourceDeliveryCount: "5", googclient_traceparent: "x", mine: "1" };
    expect({ ...fromAttributes(native, () => false) }).toEqual({ mine: "1" });
  });

  test("a foreign attribute of our packed name does no harm", () => {
    expect({
      ...fromAttributes({ "sluice-packed-0": "nonsense", "sluice-packed-x": "1", a: "b" }, () => false),
    }).toEqual({
      "sluice-packed-x": "1",
      a: "b",
    });
  });
});
