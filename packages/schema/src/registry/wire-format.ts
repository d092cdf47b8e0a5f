import { type Bytes, SluiceError } from "@sluice/core";
import { largestId } from "./answers.ts";

/** Which schema a body was written with, as it stands in front of the body or in a header. */
export interface SchemaId {
  /** The registry's number, or the schema's GUID in lower-case text; exactly one of them. */
  readonly id?: number;
  readonly guid?: string;
  /** Protobuf: path of the message in its file. */
  readonly messageIndexes?: readonly number[];
}

/** Header of a payload's schema: on Kafka the bytes of `headerBytes`, which Sluice shows as lower-case hex text. */
export const valueSchemaHeader = "__value_schema_id";
/** The same for brokers whose headers are text: {@link headerText}. */
export const textSchemaHeader = "schemaid";

const prefixMagic = 0;
const guidMagic = 1;
const prefixLength = 5;
const guidLength = 16;
/** Message types inside of each other; what Protobuf's readers allow for values. */
const deepestIndexes = 100;

/** Magic byte 0, the id in four bytes, for Protobuf the message indexes, then the body. */
export function withPrefix(id: number, body: Bytes, messageIndexes?: readonly number[]): Bytes {
  if (!isId(id)) throw new SluiceError("CONFIG", `registry: schema id ${id} does not fit the wire format`);
  const indexes = messageIndexes ? indexBytes(messageIndexes) : [];
  const framed = Buffer.allocUnsafe(prefixLength + indexes.length + body.byteLength);
  framed[0] = prefixMagic;
  framed.writeInt32BE(id, 1);
  framed.set(indexes, prefixLength);
  framed.set(body, prefixLength + indexes.length);
  return framed;
}

/**
 * Reads a prefix. `indexed`: whether message indexes follow the id, as they do for Protobuf.
 * @throws SluiceError `INVALID_PAYLOAD` that says what was found instead
 */
export function readPrefix(body: Bytes, indexed: boolean): SchemaId & { readonly body: Bytes } {
  if (body.byteLength < prefixLength || body[0] !== prefixMagic) throw invalid(`the body ${foundIn(body)}`);
  const id = viewOf(body).getInt32(1);
  if (id < 0) throw invalid(`the body has schema id ${id}, which no registry gives`);
  if (!indexed) return { id, body: body.subarray(prefixLength) };
  const { messageIndexes, end } = readIndexes(body, prefixLength);
  return { id, messageIndexes, body: body.subarray(end) };
}

/** The header form: magic byte 1 and the GUID, or magic byte 0 and the id, then for Protobuf the message indexes. */
export function headerBytes({ id, guid, messageIndexes }: SchemaId): Bytes {
  const indexes = messageIndexes ? indexBytes(messageIndexes) : [];
  if (guid !== undefined) return Buffer.from([guidMagic, ...guidBytes(guid), ...indexes]);
  return withPrefix(id ?? -1, Uint8Array.from(indexes));
}

/** @throws SluiceError `INVALID_PAYLOAD` */
export function readHeaderBytes(bytes: Bytes, indexed: boolean): SchemaId {
  const start = bytes[0] === guidMagic ? 1 + guidLength : prefixLength;
  if (bytes.byteLength < start || (bytes[0] !== guidMagic && bytes[0] !== prefixMagic)) {
    throw invalid(`header "${valueSchemaHeader}" is no schema id: it ${describe(bytes)}`);
  }
  const { messageIndexes, end } = indexed ? readIndexes(bytes, start) : { messageIndexes: undefined, end: start };
  if (end < bytes.byteLength) {
    throw invalid(`header "${valueSchemaHeader}" has ${bytes.byteLength - end} bytes after the schema id`);
  }
  const known =
    start === prefixLength ? { id: viewOf(bytes).getInt32(1) } : { guid: guidText(bytes.subarray(1, start)) };
  return { ...known, ...(messageIndexes && { messageIndexes }) };
}

/** The id or GUID as text, and message indexes behind a colon: `7`, `7:1.0`, `8ef66e27-50c8-4f9d-ac73-0b7de2e6ec7a`. */
export function headerText({ id, guid, messageIndexes }: SchemaId): string {
  const indexes = messageIndexes ? `:${messageIndexes.join(".")}` : "";
  return `${guid ?? id}${indexes}`;
}

/** @throws SluiceError `INVALID_PAYLOAD` */
export function readHeaderText(text: string): SchemaId {
  const match = /^(?:(\d{1,10})|([\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}))(?::(\d{1,10}(?:\.\d{1,10}){0,99}))?$/i.exec(
    text,
  );
  const id = Number(match?.[1] ?? 0);
  if (!match || !isId(id)) {
    const shown = JSON.stringify(text.slice(0, 60));
    throw invalid(`header "${textSchemaHeader}" is ${shown}; it must be a schema's number or GUID`);
  }
  const indexes = match[3]?.split(".").map(Number);
  return {
    ...(match[2] === undefined ? { id } : { guid: match[2].toLowerCase() }),
    ...(indexes && { messageIndexes: indexes }),
  };
}

/**
 * Finds the schema id of a message: header first, prefix second, as Kafka's clients do.
 * @throws SluiceError `INVALID_PAYLOAD` when there is none; it says what the body looks like
 */
export function readSchemaId(
  body: Bytes,
  headers: Readonly<Record<string, string>>,
  indexed: boolean,
): SchemaId & { readonly body: Bytes } {
  const hex = headers[valueSchemaHeader];
  if (hex !== undefined) return { ...readHeaderBytes(bytesOfHex(hex), indexed), body };
  const text = headers[textSchemaHeader];
  if (text !== undefined) return { ...readHeaderText(text), body };
  return readPrefix(body, indexed);
}

/** Zigzag varints: how many, then each. The path `[0]` is a single zero byte. */
export function indexBytes(indexes: readonly number[]): number[] {
  if (indexes.length === 0 || indexes.length > deepestIndexes || !indexes.every(isId)) {
    throw new SluiceError("CONFIG", `registry: message indexes [${indexes.join(", ")}] do not name a Protobuf message`);
  }
  if (indexes.length === 1 && indexes[0] === 0) return [0];
  return [indexes.length, ...indexes].flatMap(zigzag);
}

function zigzag(value: number): number[] {
  const bytes: number[] = [];
  // No shifts: twice the largest id does not fit 32 bits.
  let rest = value * 2;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return [...bytes, rest];
}

function readIndexes(bytes: Bytes, start: number): { readonly messageIndexes: number[]; readonly end: number } {
  const count = readZigzag(bytes, start);
  if (count.value === 0) return { messageIndexes: [0], end: count.end };
  if (count.value < 0 || count.value > deepestIndexes)
    throw invalid(`the schema id has ${count.value} message indexes`);
  const messageIndexes: number[] = [];
  let { end } = count;
  for (let left = count.value; left > 0; left--) {
    const index = readZigzag(bytes, end);
    if (index.value < 0) throw invalid(`the schema id has message index ${index.value}`);
    messageIndexes.push(index.value);
    end = index.end;
  }
  return { messageIndexes, end };
}

function readZigzag(bytes: Bytes, start: number): { readonly value: number; readonly end: number } {
  let raw = 0;
  for (let at = start, factor = 1; at < bytes.byteLength && at < start + 5; at++, factor *= 128) {
    const byte = bytes[at] ?? 0;
    raw += (byte & 0x7f) * factor;
    if (byte < 0x80) return { value: raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2, end: at + 1 };
  }
  throw invalid("the message indexes behind the schema id are cut off or too large");
}

/** What a body without schema id may be, by its first bytes. */
function foundIn(body: Bytes): string {
  const [first, second] = body;
  const help = `an id from a registry begins with byte 00`;
  if (first === 0x03 && (second === 0x00 || second === 0x05) && body.byteLength >= 18) {
    return `is framed for the AWS Glue schema registry (it begins with 03); ${help}`;
  }
  if (first === 0xc3 && second === 0x01) return `is Avro's single-object encoding (it begins with C3 01); ${help}`;
  if (first === 0x7b || first === 0x5b) return `looks like plain JSON without a schema id; ${help}`;
  if (first === 0x01) return `begins with 01, which is a schema id's magic byte in a header only; ${help}`;
  return `has no schema id: it ${describe(body)}; ${help}`;
}

function describe(bytes: Bytes): string {
  if (bytes.byteLength === 0) return "is empty";
  const start = Buffer.from(bytes.subarray(0, 6)).toString("hex");
  return bytes.byteLength > 6 ? `begins with ${start} and has ${bytes.byteLength} bytes` : `is ${start}`;
}

function guidBytes(guid: string): Bytes {
  const bytes = Buffer.from(guid.replaceAll("-", ""), "hex");
  if (bytes.byteLength !== guidLength) throw new SluiceError("CONFIG", `registry: "${guid}" is no GUID`);
  return bytes;
}

function guidText(bytes: Bytes): string {
  const hex = Buffer.from(bytes).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function bytesOfHex(hex: string): Bytes {
  if (/^(?:[\da-f]{2}){0,600}$/i.test(hex)) return Buffer.from(hex, "hex");
  throw invalid(`header "${valueSchemaHeader}" is ${JSON.stringify(hex.slice(0, 60))}; it must be hex text`);
}

function isId(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= largestId;
}

function viewOf(bytes: Bytes): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function invalid(detail: string): SluiceError {
  return new SluiceError("INVALID_PAYLOAD", `registry: ${detail}`);
}
