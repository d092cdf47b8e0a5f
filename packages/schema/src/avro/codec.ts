import { type Bytes, type Codec, type Issue, SluiceError, type StandardSchema, type WireMessage } from "@sluice/core";
import type avsc from "avsc";
import { invalid, kindOf, reasonOf, whatOf } from "../errors.ts";
import { checkBytes, type PayloadLimits, payloadLimits } from "../limits.ts";
import { mediaType } from "../member.ts";
import { standard } from "../standard.ts";
import type { SchemaFormat, WriterSchema } from "../registry/format.ts";
import { pathOf } from "../unreadable.ts";
import { Cursor } from "./cursor.ts";
import { type Read, readerFor } from "./reader.ts";
import { type AvroSchema, type AvroType, avroType, avroName, type AvroTypeOptions, parsed } from "./schema.ts";
import { fingerprint, headerBytes, singleObject, writerOf } from "./single-object.ts";

export interface AvroOptions extends AvroTypeOptions {
  /**
   * `binary`: the value alone; every reader must know the writer's schema. `single-object`: the fingerprint of the writer's schema in
   * ten bytes before it. @default "binary"
   */
  readonly encoding?: "binary" | "single-object";
  /**
   * Schemas that messages to be read were written with. `single-object` finds it by the fingerprint, beside this codec's own;
   * `binary` takes one: then everything is read as written with it. @default the codec's own schema
   */
  readonly writers?: readonly AvroSchema[];
  /** @default defaultPayloadLimits */
  readonly limits?: Partial<PayloadLimits>;
}

/** A codec that is also a Standard Schema: give it as `codec`, and as `schema` unless you have another one. */
export interface AvroCodec<T> extends Codec<T>, StandardSchema<T>, SchemaFormat<T> {
  readonly contentType: string;
  readonly schemaType: "AVRO";
  /** The Parsing Canonical Form. */
  readonly canonicalText: string;
  encode(payload: T, message: WireMessage): Bytes;
  decode(body: Bytes, message: WireMessage): T;
}

/**
 * Avro. `T` is what you say it is; values are checked against the Avro schema when they are written. Longs are exact: bigints, or
 * numbers that are refused beyond 2^53. Logical types: decimal (text, "12.34"), uuid (text), date and timestamp-millis (Date),
 * timestamp-micros (a long). Records, arrays and maps are plain objects and arrays, `bytes` and `fixed` Buffers.
 * @throws SluiceError `CONFIG` for an invalid schema, or writers that it cannot read
 */
export function avro<T = unknown>(schema: AvroSchema, options: AvroOptions = {}): AvroCodec<T> {
  const own = avroType(schema, options);
  const { encoding = "binary", writers = [], longs = "bigint", types = [] } = options;
  const limits = payloadLimits(options.limits);
  const mark = fingerprint(own.canonical);
  const resolve = (writer: AvroType) => resolution(own, writer, longs);
  const table = readers(
    own,
    writers.map((each) => avroType(each, options)),
    encoding,
    resolve,
  );
  const write = (payload: T, message: WireMessage) => encodeValue(own.type, payload, message, limits, table.own);
  const read = (reader: Read, start: number, body: Bytes, message: WireMessage) =>
    decodeValue(reader, start, body, message, limits) as T;
  return {
    ...standard<T>("sluice", (value) => {
      const issues = issuesOf(own.type, value);
      return issues.length === 0 ? { value: value as T } : { issues };
    }),
    contentType: "application/vnd.apache.avro",
    accepts: (contentType) => mediaTypes.has(mediaType(contentType)),
    schemaType: "AVRO",
    schemaText: JSON.stringify(parsed(schema)),
    canonicalText: own.canonical,
    name: own.type.name,
    references: types.map((each) => ({ name: avroName(each), schema: JSON.stringify(parsed(each)) })),
    write,
    reader(writer) {
      const reader = resolve(foreign(writer, options));
      return (body, message) => read(reader, 0, body, message);
    },
    writer(schema) {
      const other = foreign(schema, options);
      // What it lacks of the other's fields would only come out with the first message.
      readerFor(other.type, own.type, longs);
      const reader = readerFor(other.type, other.type, longs);
      return { write: (payload, message) => encodeValue(other.type, payload, message, limits, reader) };
    },
    encode(payload, message) {
      const value = write(payload, message);
      return encoding === "binary" ? value : singleObject(mark, value);
    },
    decode(body, message) {
      if (encoding === "binary") return read(table.reader, 0, body, message);
      const writer = writerOf(body);
      const reader = writer === undefined ? undefined : table.byMark.get(writer);
      if (reader) return read(reader, headerBytes, body, message);
      throw unknownWriter(writer, table, message);
    },
  };
}

const mediaTypes = new Set(["application/vnd.apache.avro", "application/avro", "avro/binary"]);

/** A schema of a registry, with those that it refers to. */
function foreign({ schema, references }: WriterSchema, options: AvroOptions): AvroType {
  return avroType(schema, { ...options, types: references.map((each) => each.schema) });
}

interface Readers {
  /** For `binary`. */
  readonly reader: Read;
  /** Of the codec's own schema. */
  readonly own: Read;
  readonly byMark: ReadonlyMap<bigint, Read>;
}

function readers(
  own: AvroType,
  writers: readonly AvroType[],
  encoding: "binary" | "single-object",
  resolve: (writer: AvroType) => Read,
): Readers {
  if (encoding === "binary" && writers.length > 1) {
    const text = "give one, or encoding: 'single-object', or versions";
    throw new SluiceError(
      "CONFIG",
      `avro: a binary body does not say which of ${writers.length} schemas wrote it; ${text}`,
    );
  }
  const byMark = new Map([own, ...writers].map((each) => [fingerprint(each.canonical), resolve(each)]));
  return { reader: resolve(writers[0] ?? own), own: resolve(own), byMark };
}

function resolution(own: AvroType, writer: AvroType, longs: "bigint" | "number"): Read {
  try {
    return readerFor(own.type, writer.type, longs);
  } catch (cause) {
    const text = `avro: ${own.type.name ?? "the schema"} cannot read what was written as ${writer.type.name ?? "another one"}`;
    throw new SluiceError("CONFIG", `${text}: ${reasonOf(cause)}; give the new field a default, or an alias`, {
      cause,
    });
  }
}

function encodeValue(type: avsc.Type, payload: unknown, message: WireMessage, limits: PayloadLimits, own: Read): Bytes {
  let body: Buffer;
  try {
    body = type.toBuffer(payload);
  } catch (cause) {
    const issues = issuesOf(type, payload).map((issue) => ({ ...issue, path: issue.path.join(".") }));
    const found: readonly Issue[] = issues.length > 0 ? issues : [{ path: "", message: reasonOf(cause) }];
    throw invalid(`${whatOf("avro", message)} does not fit its Avro schema`, found, undefined, cause);
  }
  // n.b. avsc writes half a surrogate pair as bytes that are not UTF-8; they have this byte. Then reading it tells.
  if (body.includes(0xed)) decodeValue(own, 0, body, message, { ...limits, bytes: Infinity });
  return body;
}

function decodeValue(read: Read, start: number, body: Bytes, message: WireMessage, limits: PayloadLimits): unknown {
  try {
    checkBytes(body, limits);
    const cursor = new Cursor(body, start, limits);
    const value = read(cursor);
    cursor.end();
    return value;
  } catch (cause) {
    const issue = { path: pathOf(cause), message: reasonOf(cause) };
    throw invalid(`${whatOf("avro", message)} cannot be read`, [issue], undefined, cause);
  }
}

interface AvroIssue {
  readonly path: readonly string[];
  readonly message: string;
}

/** At most 20. */
function issuesOf(type: avsc.Type, value: unknown): readonly AvroIssue[] {
  const issues: AvroIssue[] = [];
  const errorHook = (path: string[], found: unknown, wanted: avsc.Type) => {
    if (issues.length < 20) issues.push({ path, message: `${kindOf(found)} is not ${expected(wanted)}` });
  };
  try {
    if (!type.isValid(value, { errorHook }) && issues.length === 0) issues.push({ path: [], message: "is not valid" });
  } catch (error) {
    // A union that cannot tell which of its branches a value belongs to.
    issues.push({ path: [], message: reasonOf(error) });
  }
  return issues;
}

function expected({ typeName, name }: avsc.Type): string {
  if (typeName.startsWith("union")) return "in any branch of the union";
  const kind = typeName === "abstract:long" ? "long" : typeName.replace("logical:", "");
  return name === undefined ? kind : `${kind} ${name}`;
}

function unknownWriter(writer: bigint | undefined, { byMark }: Readers, message: WireMessage): SluiceError {
  const hex = (mark: bigint) => mark.toString(16).padStart(16, "0");
  const what = `${whatOf("avro", message)} cannot be read`;
  if (writer === undefined) {
    return invalid(
      what,
      [{ path: "", message: "it is not in single-object encoding" }],
      "read it with encoding: 'binary'",
    );
  }
  const text = `it was written with schema ${hex(writer)}; known are ${[...byMark.keys()].map(hex).join(", ")}`;
  return invalid(what, [{ path: "", message: text }], "add the schema to writers, then redrive the message");
}
