import { createRequire } from "node:module";
import { dirname, join } from "node:path";

interface Codec {
  encodeTable(buffer: Buffer, table: object, offset: number): number;
  decodeFields(slice: Buffer): Record<string, unknown>;
}

// amqplib exports no codec; the file is the one that its channels use, and the tests exist to hold against it.
const require = createRequire(import.meta.url);
const codec = require(join(dirname(require.resolve("amqplib")), "lib", "codec.js")) as Codec;

export function encodeTable(table: object): Buffer {
  const buffer = Buffer.alloc(1 << 20);
  // Channels hand it a table that inherits from ours.
  const length = codec.encodeTable(buffer, Object.create(table) as object, 0);
  return buffer.subarray(0, length);
}

export function decodeTable(bytes: Buffer): Record<string, unknown> {
  return codec.decodeFields(bytes.subarray(4));
}
