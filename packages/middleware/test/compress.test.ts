import { randomBytes } from "node:crypto";
import * as zlib from "node:zlib";
import { connect, isSluiceError, topic } from "@sluice/core";
import { memory } from "@sluice/memory";
import { describe, expect, test } from "vitest";
import { codecs, writer } from "../src/compress.ts";
import { type Algorithm, compress } from "../src/index.ts";
import { incoming, outgoing, textOf, wireMessage } from "./wire-support.ts";

const text = JSON.stringify(Array.from({ length: 500 }, (_, n) => ({ orderId: `o-${n}`, total: n * 7 })));
const algorithms: readonly [Algorithm, string][] = [
  ["gzip", "gzip"],
  ["brotli", "br"],
  ["zstd", "zstd"],
];
const mebibyte = 1024 * 1024;

test.each(algorithms)("%s: there and back, whatever the reader writes", async (algorithm, token) => {
  const sent = await outgoing([compress({ algorithm })], wireMessage({ body: Buffer.from(text) }));
  expect(sent.headers["content-encoding"]).toBe(token);
  expect(sent.body?.byteLength).toBeLessThan(text.length / 4);
  for (const [reader] of algorithms) {
    const got = await incoming([compress({ algorithm: reader })], sent);
    expect(textOf(got.body)).toBe(text);
    expect(got.headers).not.toHaveProperty("content-encoding");
  }
});

describe("stays as it is", () => {
  test.each<[string, Uint8Array | null]>([
    ["below the threshold", Buffer.from(text.slice(0, 1023))],
    ["what would not get smaller", randomBytes(5000)],
    ["a tombstone", null],
  ])("%s", async (_, body) => {
    const sent = await outgoing([compress()], wireMessage({ body }));
    expect(sent.body).toBe(body);
    expect({ ...sent.headers }).toEqual({});
    expect((await incoming([compress()], sent)).body).toEqual(body && new Uint8Array(body));
  });

  test("what a reader with the same limits would refuse", async () => {
    const zeros = new Uint8Array(4 * mebibyte);
    const middleware = [compress()];
    const sent = await outgoing(middleware, wireMessage({ body: zeros }));
    expect(sent.body).toBe(zeros);
    const [generous] = [compress({ maxExpansion: 10_000 })];
    expect((await outgoing([generous], wireMessage({ body: zeros }))).headers).toHaveProperty("content-encoding");
    const large = await outgoing([compress({ maxBytes: mebibyte })], wireMessage({ body: zeros }));
    expect(large.body).toBe(zeros);
  });

  test.each(["identity", "utf-8", "snappy", "gzip, aes128gcm", "__proto__"])(
    "an encoding of others: %s",
    async (encoding) => {
      const sent = wireMessage({ headers: { "content-encoding": encoding } });
      const got = await incoming([compress()], sent);
      expect(textOf(got.body)).toBe('{"a":1}');
      expect(got.headers["content-encoding"]).toBe(encoding);
    },
  );
});

test("what others packed, in other words and over another encoding", async () => {
  const body = zlib.gzipSync(text);
  const got = await incoming(
    [compress()],
    wireMessage({ body, headers: { "content-encoding": "aes128gcm, X-GZIP " } }),
  );
  expect(textOf(got.body)).toBe(text);
  expect(got.headers["content-encoding"]).toBe("aes128gcm");
  const again = await outgoing([compress()], got);
  expect(again.headers["content-encoding"]).toBe("aes128gcm, gzip");
});

test("what its publisher packed is not packed again, and is unpacked for readers; layers have an end", async () => {
  const body = zlib.gzipSync(text);
  const sent = await outgoing(
    [compress({ threshold: 1 })],
    wireMessage({ body, headers: { "content-encoding": "gzip" } }),
  );
  expect(sent.body).toBe(body);
  expect(textOf((await incoming([compress()], sent)).body)).toBe(text);
  const layers = (count: number) => {
    const packed = Array.from({ length: count }).reduce<Uint8Array>((inner) => zlib.gzipSync(inner), Buffer.from(text));
    return wireMessage({
      body: packed,
      headers: { "content-encoding": Array.from({ length: count }, () => "gzip").join(", ") },
    });
  };
  expect(textOf((await incoming([compress()], layers(3))).body)).toBe(text);
  await expect(incoming([compress()], layers(4))).rejects.toThrow("is packed more than 3 times");
});

describe("the headers of a message that is forwarded do not make another one unreadable", () => {
  const both = [compress({ threshold: 10 })];
  const short = [compress({ threshold: 1000 })];
  // n.b. Some texts of one character are brotli: of nothing.
  const bodies = ["3", "5", "7", ";", "{}", '{"a":1}', text];

  test.each(["gzip", "X-GZIP", "br", "zstd", "gzip, gzip", "br, zstd"])("%s", async (encoding) => {
    for (const middleware of [both, short]) {
      for (const body of bodies) {
        const made = wireMessage({ body: Buffer.from(body), headers: { "content-encoding": encoding } });
        const forwarded = await outgoing(middleware, made);
        expect(forwarded.headers["content-encoding"]).toBe(body === text ? "gzip" : undefined);
        expect(textOf((await incoming(middleware, forwarded)).body)).toBe(body);
      }
    }
  });

  test("a tombstone, and what is encoded by somebody else", async () => {
    const nothing = await outgoing(both, wireMessage({ body: null, headers: { "content-encoding": "gzip" } }));
    expect({ ...nothing.headers }).toEqual({});
    const given = { "content-encoding": "aes128gcm, gzip" };
    const foreign = await outgoing(both, wireMessage({ body: Buffer.from(text), headers: given }));
    expect(foreign.headers["content-encoding"]).toBe("aes128gcm, gzip");
    const got = await incoming(both, foreign);
    expect(got.headers["content-encoding"]).toBe("aes128gcm");
    expect(textOf(got.body)).toBe(text);
  });

  test.each([
    ["gzip", () => zlib.gzipSync(text)],
    ["br", () => zlib.brotliCompressSync(text)],
    ["zstd", () => zlib.zstdCompressSync(text)],
  ])("%s by its publisher goes as it is", async (encoding, make) => {
    const body = make();
    const made = await outgoing(both, wireMessage({ body, headers: { "content-encoding": encoding } }));
    expect(made.body).toBe(body);
    expect(made.headers["content-encoding"]).toBe(encoding);
    expect(textOf((await incoming(both, made)).body)).toBe(text);
  });

  test("brotli by its publisher, that is larger than what is read: it is not packed twice", async () => {
    const body = zlib.brotliCompressSync(Buffer.alloc(2 * mebibyte));
    const made = wireMessage({ body, headers: { "content-encoding": "br" } });
    expect((await outgoing([compress({ maxBytes: mebibyte })], made)).headers["content-encoding"]).toBe("br");
  });

  test("on a bus", async () => {
    const bus = await connect(memory(), { middleware: { wire: [compress()] } });
    const [First, Second] = [topic<string>("first"), topic<string>("second")];
    const got: string[] = [];
    const two = Promise.withResolvers<void>();
    await bus.subscribe(Second, { group: "g" }, (payload) => void (got.push(payload) === 2 && two.resolve()));
    await bus.subscribe(First, { group: "g" }, async (_payload, context) => {
      const { "content-type": _, ...headers } = context.message.headers;
      expect(headers["content-encoding"]).toBe("gzip");
      for (const payload of ["short", text]) await context.publish(Second, payload, { headers });
    });
    await bus.publish(First, text);
    await two.promise;
    expect(new Set(got)).toEqual(new Set(["short", text]));
    await bus.close();
  });
});

const zeros = new Uint8Array(mebibyte);
const repeated = (part: Uint8Array, times: number) => Buffer.concat(Array.from({ length: times }, () => part));
/** Real ones: a gibibyte in a mebibyte, 64 MiB in some hundred bytes. With their content encodings. */
const bombs: readonly (readonly [name: string, token: string, make: () => Uint8Array])[] = [
  ["gzip", "gzip", () => repeated(zlib.gzipSync(zeros), 1000)],
  [
    "brotli",
    "br",
    () =>
      zlib.brotliCompressSync(new Uint8Array(64 * mebibyte), { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 3 } }),
  ],
  ["zstd", "zstd", () => zlib.zstdCompressSync(new Uint8Array(128 * mebibyte))],
];

describe("bombs", () => {
  test.each(bombs)("%s is refused within its limit of memory", async (_, token, make) => {
    const sent = wireMessage({ body: make(), headers: { "content-encoding": token } });
    const error: unknown = await incoming([compress()], sent).then(
      () => expect.fail("it was accepted"),
      (reason: unknown) => reason,
    );
    expect(isSluiceError(error, "INVALID_PAYLOAD")).toBe(true);
    expect(String(error)).toMatch(/expands to more than \d+/);
  });

  test("a frame of zstd that wants 2 GiB of memory", async () => {
    // Magic number, a descriptor without size, a window of 2^31 bytes, one empty last block.
    const body = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x01, 0x00, 0x00]);
    const sent = wireMessage({ body, headers: { "content-encoding": "zstd" } });
    await expect(incoming([compress()], sent)).rejects.toMatchObject({ code: "INVALID_PAYLOAD" });
  });
});

test.each(algorithms)("%s: a damaged body is refused", async (algorithm) => {
  const sent = await outgoing([compress({ algorithm })], wireMessage({ body: Buffer.from(text) }));
  const body = Buffer.from(sent.body ?? []);
  for (const damaged of [body.subarray(0, 40), Buffer.concat([Buffer.from("xxxx"), body]), new Uint8Array()]) {
    const error: unknown = await incoming([compress()], { ...sent, body: damaged }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "INVALID_PAYLOAD", message: expect.stringContaining("is damaged") as string });
  }
});

test("what follows after the end of a body is not lost: it is refused", async () => {
  const [one, two] = [zlib.zstdCompressSync("one"), zlib.zstdCompressSync("two")];
  const skipped = Buffer.concat([Buffer.from("502a4d1800000000", "hex"), one]);
  const several = zlib.brotliCompressSync("one");
  for (const [token, body] of [
    ["zstd", Buffer.concat([one, two])],
    ["zstd", skipped],
    ["br", Buffer.concat([several, several])],
    ["gzip", Buffer.concat([zlib.gzipSync("one"), Buffer.from("two")])],
  ] as const) {
    const sent = wireMessage({ body, headers: { "content-encoding": token } });
    await expect(incoming([compress()], sent)).rejects.toMatchObject({ code: "INVALID_PAYLOAD" });
  }
  const members = Buffer.concat([zlib.gzipSync("one"), zlib.gzipSync("two")]);
  const both = wireMessage({ body: members, headers: { "content-encoding": "gzip" } });
  expect(textOf((await incoming([compress()], both)).body)).toBe("onetwo");
});

test("options that make no sense, and a Node without zstd", async () => {
  expect(() => compress({ threshold: 0 })).toThrow(expect.objectContaining({ code: "CONFIG" }));
  expect(() => compress({ algorithm: "lzma" as never })).toThrow(expect.objectContaining({ code: "CONFIG" }));
  const { zstdCompress: _, zstdDecompress: __, ...older } = zlib;
  expect(() => writer("zstd", codecs(older))).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  expect(writer("gzip", codecs(older)).token).toBe("gzip");
});
