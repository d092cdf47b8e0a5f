/** CRC-64-AVRO of a Parsing Canonical Form, as the specification has it. */
export function fingerprint(canonical: string): bigint {
  let value = empty;
  for (const byte of Buffer.from(canonical, "utf8")) {
    value = (value >> 8n) ^ (table[Number((value ^ BigInt(byte)) & 0xffn)] ?? 0n);
  }
  return value;
}

const empty = 0xc15d213aa4d7a795n;

const table: readonly bigint[] = Array.from({ length: 256 }, (_, index) => {
  let value = BigInt(index);
  for (let bit = 0; bit < 8; bit++) value = (value >> 1n) ^ (empty & -(value & 1n));
  return value;
});

/** Bytes before the value: a mark, a version and the fingerprint of the writer's schema. */
export const headerBytes = 10;

export function singleObject(writer: bigint, value: Uint8Array): Buffer {
  const header = Buffer.alloc(headerBytes);
  header[0] = 0xc3;
  header[1] = 0x01;
  header.writeBigUInt64LE(writer, 2);
  return Buffer.concat([header, value]);
}

/** The fingerprint of the writer's schema; `undefined` for a body without the mark. */
export function writerOf(body: Uint8Array): bigint | undefined {
  if (body.length < headerBytes || body[0] !== 0xc3 || body[1] !== 0x01) return undefined;
  return Buffer.from(body.buffer, body.byteOffset, headerBytes).readBigUInt64LE(2);
}
