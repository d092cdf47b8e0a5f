import avsc from "avsc";

/**
 * n.b. avsc's own long type writes some negative numbers beyond 2^52 as other numbers, without a word. This one makes the bytes
 * itself, for both representations, and reads are done by ../avro/reader.ts.
 */
export function longType(longs: "bigint" | "number"): avsc.Type {
  const bigint = longs === "bigint";
  return avsc.types.LongType.__with(
    {
      toBuffer: (value: bigint | number) => toVarint(BigInt(value)),
      fromBuffer: unused,
      fromJSON: (value: unknown) => fromDefault(value, bigint),
      toJSON: Number,
      isValid: (value: unknown) => (bigint ? isLong(value) : Number.isSafeInteger(value)),
      compare: (a: bigint | number, b: bigint | number) => (a < b ? -1 : a > b ? 1 : 0),
    },
    true,
  );
}

function isLong(value: unknown): boolean {
  return typeof value === "bigint" && BigInt.asIntN(64, value) === value;
}

/** avsc's readers are not used. */
function unused(): never {
  throw new Error("avro: not read by avsc");
}

/** Defaults of a schema are JSON: beyond 2^53 the parser has rounded them already. */
function fromDefault(value: unknown, bigint: boolean): bigint | number {
  const number = typeof value === "bigint" ? Number(value) : value;
  if (!Number.isSafeInteger(number)) throw new Error(`default ${String(value)} is not a whole number below 2^53`);
  return bigint ? BigInt(value as number) : (number as number);
}

/** Zigzag, then seven bits a byte, the lowest first. */
function toVarint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
