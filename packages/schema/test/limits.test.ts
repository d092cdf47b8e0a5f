import { json, text } from "@sluice/core";
import { describe, expect, test } from "vitest";
import { avro } from "../src/avro/index.ts";
import { defaultPayloadLimits, limited } from "../src/index.ts";
import { bytes, errorOf, message } from "./formats-support.ts";
import { payloadBombs } from "./payload-bombs.ts";

const mega = 1024 * 1024;

describe("bombs are refused before memory is spent on them", () => {
  test.each(payloadBombs)("%s", async (_, codec, make, reason) => {
    const body = make();
    const before = process.memoryUsage().rss;
    const error = await errorOf(() => codec.decode(body, message() as never));
    expect(error.code).toBe("INVALID_PAYLOAD");
    expect(error.message).toContain(reason);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * mega);
  });
});

describe("limited", () => {
  test("leaves what is within its limits alone", async () => {
    const value = { text: 'quotes " and \\" and [[[[ in text', list: [1, [2, [3]]] };
    const codec = limited(json(), { depth: 4, elements: 7, bytes: 1000 });
    expect(await codec.decode((await codec.encode(value, message())) as Uint8Array, message())).toEqual(value);
    expect(codec.contentType).toBe("application/json");
    expect(codec).not.toHaveProperty("accepts");
    expect(() => codec.decode(Buffer.from("[[[[[1]]]]]"), message())).toThrow("more than 4 levels of nesting");
    expect(() => codec.decode(Buffer.from("[1,2,3,4,5,6,7,8]"), message())).toThrow("more than 7 elements");
    expect(() => codec.decode(Buffer.from("[1,2,"), message())).toThrow(/JSON/);
  });

  test("other formats have a limit of bytes, and keep their own word on content types", async () => {
    const codec = limited({ ...text(), accepts: (type) => type === "text/x" }, { bytes: 3 });
    expect(await codec.decode(Buffer.from("[[["), message())).toBe("[[[");
    expect(codec.accepts?.("text/x")).toBe(true);
    expect((await errorOf(() => codec.decode(Buffer.from("four"), message()))).message).toContain(
      "the body has 4 bytes, above the limit of 3",
    );
  });

  test("limits are positive integers", async () => {
    for (const bytes of [0, -1, 1.5, Number.NaN]) {
      expect((await errorOf(() => limited(json(), { bytes }))).code).toBe("CONFIG");
    }
    expect(defaultPayloadLimits).toEqual({ bytes: 8 * mega, depth: 100, elements: 200_000 });
    expect(() => avro("string", { limits: { bytes: 2 } }).decode(bytes("0461 61"), message())).toThrow(
      "above the limit of 2",
    );
  });
});
