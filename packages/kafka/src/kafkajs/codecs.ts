import { createRequire } from "node:module";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { DriverError } from "@sluice/core/driver";
import type { Compression } from "../options.ts";
import { type Lz4Blocks, compressLz4, decompressLz4 } from "./lz4.ts";
import { type SnappyBlocks, compressSnappy, decompressSnappy } from "./snappy.ts";

/** n.b. kafkajs has a name for it that an ES module cannot import. */
const { CompressionCodecs } = createRequire(import.meta.url)("kafkajs") as {
  readonly CompressionCodecs: Record<number, unknown>;
};

interface Codec {
  readonly compress: (bytes: Buffer) => Promise<Buffer>;
  readonly decompress: (bytes: Buffer) => Promise<Buffer>;
}

/** Numbers of the codecs in a batch's attributes. */
const types: Readonly<Record<Compression, number>> = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 };
/** What brings a codec that is not built in. */
const remedies: Readonly<Record<Compression, string>> = {
  none: "",
  gzip: "",
  snappy: 'install package "snappyjs"',
  lz4: 'install package "lz4js"',
  zstd: "use Node 22.15 or newer",
};

const gzip: Codec = { compress: promisify(zlib.gzip), decompress: promisify(zlib.unzip) };

/** Resolves to a package that need not be installed; `undefined` when it is not. */
type Load = (name: string) => Promise<unknown>;

/** @throws DriverError `CONFIG` when the codec is not there, naming what brings it */
export async function codecFor(compression: Compression, load: Load = optional): Promise<Codec> {
  const codec = await find(compression, load);
  if (codec) return codec;
  throw new DriverError(
    "CONFIG",
    `kafka: compression "${compression}" has no codec here; ${remedies[compression]}, or choose another one`,
  );
}

export function compressionType(compression: Compression): number {
  return types[compression];
}

/**
 * Makes every codec that is there known to kafkajs, whose list is one for the whole process, and leaves alone what somebody else
 * has put into it. Those that are missing say in their error what to install.
 */
export async function registerCodecs(load: Load = optional): Promise<void> {
  for (const compression of ["snappy", "lz4", "zstd"] as const) {
    const type = types[compression];
    if (isThere(type)) continue;
    const codec = await find(compression, load);
    CompressionCodecs[type] = codec
      ? () => ({ compress: ({ buffer }: { buffer: Buffer }) => codec.compress(buffer), decompress: codec.decompress })
      : () => {
          const problem = `a batch is compressed with ${compression}, for which there is no codec here; ${remedies[compression]}`;
          // n.b. by this name kafkajs gives up at once; anything else it would try again and again.
          throw Object.assign(new Error(problem), { name: "KafkaJSNotImplemented" });
        };
  }
}

/** kafkajs' own entries for codecs that it lacks throw. */
function isThere(type: number): boolean {
  try {
    const make = CompressionCodecs[type];
    return typeof make === "function" && Boolean(make());
  } catch {
    return false;
  }
}

async function find(compression: Compression, load: Load): Promise<Codec | undefined> {
  switch (compression) {
    case "none":
      return { compress: async (bytes) => bytes, decompress: async (bytes) => bytes };
    case "gzip":
      return gzip;
    case "zstd":
      return zstd();
    case "snappy": {
      const snappy = (await load("snappyjs")) as SnappyBlocks | undefined;
      return (
        snappy &&
        inOneGo(
          (bytes) => compressSnappy(snappy, bytes),
          (bytes) => decompressSnappy(snappy, bytes),
        )
      );
    }
    case "lz4": {
      const lz4 = (await load("lz4js")) as Lz4Blocks | undefined;
      return (
        lz4 &&
        inOneGo(
          (bytes) => compressLz4(lz4, bytes),
          (bytes) => decompressLz4(lz4, bytes),
        )
      );
    }
  }
}

/** Not in every Node that is supported. */
function zstd(): Codec | undefined {
  if (typeof zlib.zstdCompress !== "function") return undefined;
  return { compress: promisify(zlib.zstdCompress), decompress: promisify(zlib.zstdDecompress) };
}

function inOneGo(compress: (bytes: Buffer) => Buffer, decompress: (bytes: Buffer) => Buffer): Codec {
  return { compress: async (bytes) => compress(bytes), decompress: async (bytes) => decompress(bytes) };
}

async function optional(name: string): Promise<unknown> {
  try {
    const module = (await import(name)) as { readonly default: unknown };
    return module.default;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}
