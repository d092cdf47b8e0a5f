const polynomial = 0x82f63b78;
const width = 8;

/** Tables for eight bytes at a time. */
const tables: readonly Uint32Array[] = makeTables();

/** CRC-32C (Castagnoli), which record batches carry. */
export function crc32c(bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as readonly [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ]; // makeTables makes eight
  const at = (index: number): number => bytes[index] ?? 0;
  let crc = 0xffffffff;
  const whole = bytes.length - (bytes.length % width);
  let index = 0;
  for (; index < whole; index += width) {
    const low = crc ^ (at(index) | (at(index + 1) << 8) | (at(index + 2) << 16) | (at(index + 3) << 24));
    crc =
      (t7[low & 255] ?? 0) ^
      (t6[(low >>> 8) & 255] ?? 0) ^
      (t5[(low >>> 16) & 255] ?? 0) ^
      (t4[low >>> 24] ?? 0) ^
      (t3[at(index + 4)] ?? 0) ^
      (t2[at(index + 5)] ?? 0) ^
      (t1[at(index + 6)] ?? 0) ^
      (t0[at(index + 7)] ?? 0);
  }
  for (; index < bytes.length; index += 1) crc = (crc >>> 8) ^ (t0[(crc ^ at(index)) & 255] ?? 0);
  return (crc ^ 0xffffffff) >>> 0;
}

function makeTables(): readonly Uint32Array[] {
  const made = Array.from({ length: width }, () => new Uint32Array(256));
  const [first = new Uint32Array(256)] = made;
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
    first[byte] = crc;
  }
  for (let table = 1; table < width; table += 1) {
    for (let byte = 0; byte < 256; byte += 1) {
      const crc = made[table - 1]?.[byte] ?? 0;
      (made[table] ?? first)[byte] = (crc >>> 8) ^ (first[crc & 255] ?? 0);
    }
  }
  return made;
}
