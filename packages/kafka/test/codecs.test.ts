import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { codecFor } from "../src/kafkajs/codecs.ts";
import type { Compression } from "../src/options.ts";

const text = Buffer.from(JSON.stringify({ orderId: "o-1", customerId: "c-7", total: 42 }).repeat(4_000));
const bodies: readonly (readonly [string, Buffer])[] = [
  ["nothing", Buffer.alloc(0)],
  ["a byte", Buffer.from("x")],
  ["twelve bytes", Buffer.from("aaaaaaaaaaaa")],
  ["a long run", Buffer.alloc(200_000, "a")],
  ["text over several blocks", text],
  ["bytes that do not get smaller", randomBytes(100_000)],
  ["both", Buffer.concat([text, randomBytes(70_000), text])],
];

describe.each<Compression>(["gzip", "snappy", "lz4", "zstd"])("%s", (compression) => {
  test.each(bodies)("gives %s back", async (_what, body) => {
    const codec = await codecFor(compression);
    expect((await codec.decompress(await codec.compress(body))).equals(body)).toBe(true);
  });
});

describe("frames", () => {
  test("an LZ4 frame says that its blocks are independent, as Java's readers demand", async () => {
    const frame = await (await codecFor("lz4")).compress(text);
    expect(frame.subarray(0, 7).toString("hex")).toBe("04224d18604082");
    expect(frame.length).toBeLessThan(text.length / 10);
  });

  test("a snappy stream begins as Java's does; a bare block is read too", async () => {
    const codec = await codecFor("snappy");
    const stream = await codec.compress(Buffer.from("aaaa"));
    expect(stream.subarray(1, 7).toString()).toBe("SNAPPY");
    expect((await codec.decompress(stream.subarray(20))).toString()).toBe("aaaa");
  });
});

test.each(["snappy", "lz4"] as const)("%s without its package names the package", async (compression) => {
  const nothing = async () => undefined;
  await expect(codecFor(compression, nothing)).rejects.toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining(`install package "${compression}js"`),
  });
});
