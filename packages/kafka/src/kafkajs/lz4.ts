/** What is used of package lz4js: single blocks. Its own frames have linked blocks, which Kafka's Java classes refuse. */
export interface Lz4Blocks {
  compressBound(length: number): number;
  /** 0: the block does not get smaller. */
  compressBlock(source: Uint8Array, target: Uint8Array, from: number, length: number, table: Uint32Array): number;
  decompressBlock(source: Uint8Array, target: Uint8Array, from: number, length: number, at: number): number;
}

const magic = 0x184d2204;
/** Version 1, independent blocks, no checksums; blocks of at most 64 KiB; and the checksum of these two bytes. */
const descriptor = Buffer.from([0x60, 0x40, 0x82]);
const blockBytes = 65_536;
const stored = 0x80000000;
const hashEntries = 65_536;

export function compressLz4(lz4: Lz4Blocks, bytes: Buffer): Buffer {
  const parts: Buffer[] = [uint32(magic), descriptor];
  const table = new Uint32Array(hashEntries);
  for (let from = 0; from < bytes.length; from += blockBytes) {
    const block = bytes.subarray(from, from + blockBytes);
    const target = Buffer.allocUnsafe(lz4.compressBound(block.length));
    table.fill(0);
    const size = lz4.compressBlock(block, target, 0, block.length, table);
    if (size > 0 && size < block.length) parts.push(uint32(size), target.subarray(0, size));
    else parts.push(uint32((block.length | stored) >>> 0), block);
  }
  return Buffer.concat([...parts, uint32(0)]);
}

/** @throws Error for what is no frame */
export function decompressLz4(lz4: Lz4Blocks, bytes: Buffer): Buffer {
  if (bytes.readUInt32LE(0) !== magic) throw new Error("no LZ4 frame");
  const flags = bytes.readUInt8(4);
  const [blockChecksums, contentSize] = [(flags & 0x10) > 0, (flags & 0x08) > 0];
  const largest = 1 << (8 + 2 * ((bytes.readUInt8(5) >> 4) & 7));
  let target = Buffer.allocUnsafe(Math.max(largest, bytes.length * 4));
  let written = 0;
  for (let at = 7 + (contentSize ? 8 : 0); ;) {
    const header = bytes.readUInt32LE(at);
    at += 4;
    if (header === 0) return target.subarray(0, written);
    const size = header % stored;
    // n.b. the decoder of blocks would never end behind the end.
    if (at + size > bytes.length) throw new Error("an LZ4 block reaches over the end of its frame");
    if (target.length - written < largest) target = Buffer.concat([target], target.length * 2 + largest);
    if (header >= stored) written += bytes.copy(target, written, at, at + size);
    else written = lz4.decompressBlock(bytes, target, at, size, written);
    at += size + (blockChecksums ? 4 : 0);
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
