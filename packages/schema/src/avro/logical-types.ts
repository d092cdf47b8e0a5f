import avsc from "avsc";

/** A logical type: what a program has, and what the underlying type writes. */
interface Conversion {
  /** The parameters that must agree when another schema wrote it. */
  readonly signature: string;
  read(underlying: unknown): unknown;
  /** `undefined`: not such a value. */
  write(value: unknown): unknown;
}

type Attributes = Readonly<Record<string, unknown>>;

/** The logical types of Avro that Sluice converts. Others read and write as their underlying type, as the specification says. */
export function logicalTypes(
  longs: "bigint" | "number",
): Record<string, new (schema: avsc.Schema, options?: unknown) => LogicalType> {
  const long = (value: number) => (longs === "bigint" ? BigInt(value) : value);
  return {
    decimal: typeFor("decimal", decimal),
    uuid: typeFor("uuid", uuid),
    date: typeFor("date", () => days),
    "timestamp-millis": typeFor("timestamp-millis", () => millis(long)),
    "timestamp-micros": typeFor("timestamp-micros", () => micros(longs)),
  };
}

/** What reader.ts needs of a logical type. */
export interface LogicalType extends avsc.types.LogicalType {
  readonly conversion: Conversion;
}

const underlying: Readonly<Record<string, readonly string[]>> = {
  decimal: ["bytes", "fixed"],
  uuid: ["string", "fixed"],
  date: ["int"],
  "timestamp-millis": ["abstract:long"],
  "timestamp-micros": ["abstract:long"],
};

/** n.b. avsc asks for a class per logical type, and for what it throws in the constructor: then the annotation is ignored. */
function typeFor(
  name: string,
  make: (schema: Attributes) => Conversion,
): new (schema: avsc.Schema, options?: unknown) => LogicalType {
  return class extends avsc.types.LogicalType implements LogicalType {
    readonly conversion: Conversion;

    constructor(schema: avsc.Schema, options?: unknown) {
      const attributes = schema as unknown as Attributes;
      // n.b. by its name avsc takes the long type that it was given, by an object its own.
      super(attributes["type"] === "long" ? "long" : schema, options);
      Object.assign(this, { _logicalTypeName: name });
      if (!underlying[name]?.includes(this.underlyingType.typeName)) throw new Error(`${name} on another type`);
      this.conversion = make(attributes);
    }

    protected override _fromValue(value: unknown): unknown {
      return this.conversion.read(value);
    }

    protected override _toValue(value: unknown): unknown {
      return this.conversion.write(value);
    }

    protected override _export(schema: avsc.Schema): void {
      Object.assign(schema, parameters(this.conversion.signature));
    }
  };
}

function parameters(signature: string): Record<string, number> {
  const [, precision, scale] = /^decimal\((\d+),(\d+)\)$/.exec(signature) ?? [];
  return precision === undefined ? {} : { precision: Number(precision), scale: Number(scale) };
}

/** Text such as "12.34", exact: a number could not hold it. */
function decimal({ precision, scale = 0, type, size }: Attributes): Conversion {
  if (!isCount(precision) || precision === 0 || !isCount(scale) || scale > precision)
    throw new Error("invalid decimal");
  const limit = 10n ** BigInt(precision);
  // Some writers extend the sign.
  const longest = Math.ceil((precision * Math.log2(10)) / 8) + 8;
  const width = type === "fixed" && isCount(size) ? size : undefined;
  return {
    signature: `decimal(${precision},${scale})`,
    read(value) {
      const bytes = value as Uint8Array;
      // n.b. before a number is made of it: printing one of a million digits stops the process.
      const unscaled = width === undefined && bytes.length > longest ? limit : toBigInt(bytes);
      if (unscaled < limit && unscaled > -limit) return toDecimal(unscaled, scale);
      throw new Error(`a number of more than ${precision} digits`);
    },
    write(value) {
      const unscaled = typeof value === "string" ? fromDecimal(value, scale) : undefined;
      if (unscaled === undefined || unscaled >= limit || unscaled <= -limit) return undefined;
      return toBytes(unscaled, width);
    },
  };
}

const uuidText = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function uuid({ type, size }: Attributes): Conversion {
  const fixed = type === "fixed";
  if (fixed && size !== 16) throw new Error("a uuid has 16 bytes");
  return {
    signature: "uuid",
    read(value) {
      const text = fixed
        ? Buffer.from(value as Uint8Array)
            .toString("hex")
            .replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
        : value;
      if (typeof text === "string" && uuidText.test(text)) return text;
      throw new Error("text that is not a uuid");
    },
    write(value) {
      if (typeof value !== "string" || !uuidText.test(value)) return undefined;
      return fixed ? Buffer.from(value.replaceAll("-", ""), "hex") : value;
    },
  };
}

const dayMs = 86_400_000;
/** The farthest from 1970 that a Date can be, either way. */
const dateLimitMs = 8.64e15;

/** A Date at midnight UTC; one with a time of day is refused rather than cut. */
const days: Conversion = {
  signature: "date",
  read: (value) => toDate((value as number) * dayMs),
  write: (value) => {
    const number = value instanceof Date ? value.getTime() / dayMs : Number.NaN;
    return Number.isInteger(number) ? number : undefined;
  },
};

function millis(long: (value: number) => bigint | number): Conversion {
  return {
    signature: "timestamp-millis",
    read: (value) => toDate(Number(value)),
    write: (value) => (value instanceof Date && !Number.isNaN(value.getTime()) ? long(value.getTime()) : undefined),
  };
}

/** What a long is: a Date has no microseconds. */
function micros(longs: "bigint" | "number"): Conversion {
  return {
    signature: "timestamp-micros",
    read: (value) => value,
    write: (value) => (typeof value === longs ? value : undefined),
  };
}

function toDate(ms: number): Date {
  if (Math.abs(ms) <= dateLimitMs) return new Date(ms);
  throw new Error("a time outside of what a Date can hold");
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Two's complement, the highest byte first; no bytes are 0. */
function toBigInt(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  const unsigned = BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  return BigInt.asIntN(bytes.length * 8, unsigned);
}

/** As few bytes as hold it, or so many as the fixed type has. */
function toBytes(value: bigint, width: number | undefined): Buffer | undefined {
  let length = width ?? 1;
  if (width === undefined) while (BigInt.asIntN(length * 8, value) !== value) length++;
  else if (BigInt.asIntN(length * 8, value) !== value) return undefined;
  return Buffer.from(
    BigInt.asUintN(length * 8, value)
      .toString(16)
      .padStart(length * 2, "0"),
    "hex",
  );
}

function toDecimal(unscaled: bigint, scale: number): string {
  const sign = unscaled < 0n ? "-" : "";
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, "0");
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** `undefined` for more digits behind the point than the scale has: nothing is rounded. */
function fromDecimal(text: string, scale: number): bigint | undefined {
  const [, sign = "", whole = "", fraction = ""] = /^(-?)(\d{1,1000})(?:\.(\d{1,1000}))?$/.exec(text) ?? [];
  if (whole === "" || fraction.slice(scale).replaceAll("0", "") !== "") return undefined;
  return BigInt(`${sign}${whole}${fraction.slice(0, scale).padEnd(scale, "0")}`);
}
