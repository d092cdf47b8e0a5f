/** What is used of package snappyjs: single blocks. */
export interface SnappyBlocks {
  compress(bytes: Buffer): Buffer;
  uncompress(bytes: Buffer): Buffer;
}

/** Java writes blocks of its own framing (xerial's): a head with two version numbers, and the size before each block. */
const head: Buffer = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
const magicBytes = 8;
const blockBytes = 32_768;
/** No element of a block makes more bytes out of one. */
const largestGrowth = 64;

export function compressSnappy(snappy: SnappyBlocks, bytes: Buffer): Buffer {
  const parts = [head];
  for (let from = 0; from < bytes.length; from += blockBytes) {
    const block = snappy.compress(bytes.subarray(from, from + blockBytes));
    const size = Buffer.allocUnsafe(4);
    size.writeUInt32BE(block.length);
    parts.push(size, block);
  }
  return Buffer.concat(parts);
}

/** Also reads a bare block, which librdkafka writes. */
export function decompressSnappy(snappy: SnappyBlocks, bytes: Buffer): Buffer {
  if (!bytes.subarray(0, magicBytes).equals(head.subarray(0, magicBytes))) return uncompress(snappy, bytes);
  const parts: Buffer[] = [];
  for (let at = head.length; at < bytes.length;) {
    const size = bytes.readUInt32BE(at);
    parts.push(uncompress(snappy, bytes.subarray(at + 4, at + 4 + size)));
    at += 4 + size;
  }
  return Buffer.concat(parts);
}

/**
 * n.b. the package makes room for what the block says that it will be, and a block may say anything; and it takes the length of a long
 * literal for a signed number, so that a block can send it backwards, for ever.
 */
function uncompress(snappy: SnappyBlocks, block: Buffer): Buffer {
  let length = 0;
  let at = 0;
  for (let more = true; more && at < 5; at += 1) {
    const byte = block[at] ?? 0;
    length += (byte & 0x7f) * 2 ** (7 * at);
    more = byte >= 0x80;
  }
  if (length > block.length * largestGrowth)
    throw new Error(`a Snappy block of ${block.length} bytes says it has ${length}`);
  const made = lengthOf(block, at);
  if (made !== length) throw new Error(`a Snappy block says it has ${length} bytes and has ${made}`);
  return snappy.uncompress(block);
}

/** What the elements of a block make, from `at` on; NaN: they go beyond its end. */
function lengthOf(block: Buffer, from: number): number {
  let made = 0;
  let at = from;
  while (at < block.length) {
    const tag = block[at++] ?? 0;
    const kind = tag & 3;
    let size = (tag >> 2) + 1;
    if (kind === 1) size = ((tag >> 2) & 7) + 4;
    if (kind === 0) {
      const bytes = Math.max(0, size - 60);
      if (at + bytes > block.length) return Number.NaN;
      if (bytes > 0) size = block.readUIntLE(at, bytes) + 1;
      at += bytes + size;
    } else at += kind === 3 ? 4 : kind;
    made += size;
  }
  return at === block.length ? made : Number.NaN;
}
