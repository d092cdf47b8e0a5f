import { isUtf8 } from "node:buffer";
import {
  type Bytes,
  type Delivery,
  DriverError,
  emptyHeaders,
  type Headers,
  type Key,
  type OutgoingRecord,
  type Source,
  readTime,
  wire,
} from "@sluice/core/driver";
import type { RedisMessage } from "./options.ts";

/**
 * Fields of an entry. `data` is the payload, `key` the key, every other field a header; what begins with `sluice-` is ours. An entry
 * without `data` is a foreign one whose fields are the message: its body is their JSON.
 */
const dataField = "data";
const keyField = "key";
/** Our headers, as one JSON object: an entry with few fields, always the same, is stored compactly. */
const headersField = "sluice-headers";
/** Marks a body that is `null`. */
const nullField = "sluice-null";
/** Hand-outs before this entry was made by a give-back. */
const deliveriesField = "sluice-deliveries";

const ownPrefix = "sluice-";

/** Values of one XADD must fit on the stack of a script. */
const mostFields = 3_500;

/** Names and values for XADD, in turn. */
export type Fields = (string | Buffer)[];

/**
 * A record as fields. `from`: what it is a copy of.
 * @throws DriverError INVALID_MESSAGE when text is not well-formed, or fields are too many
 */
export function toFields(record: OutgoingRecord, from?: unknown): Fields {
  const copied = isRedisMessage(from) ? from.fields : [];
  const whole = copied.length > 0 && isWhole(copied);
  const fields: Fields = [];
  const carried = emptyHeaders();
  for (const [name, value] of copied) {
    if (name.startsWith(ownPrefix) || (!whole && (name === dataField || name === keyField))) continue;
    const text = whole ? undefined : textOf(value);
    // A header that core took away or changed stays so; what is no text is only here.
    if (text !== undefined && record.headers[name] !== text) continue;
    if (text !== undefined) carried[name] = text;
    fields.push(name, value);
  }
  if (!whole) {
    if (record.body === null) fields.push(nullField, "1");
    else fields.push(dataField, toBuffer(record.body));
    if (record.key !== null) fields.push(keyField, keyOf(record.key));
  }
  fields.push(wire.id, wellFormed("id", record.id), wire.time, String(record.time));
  const headers = rest(record.headers, carried);
  if (headers !== undefined) fields.push(headersField, headers);
  if (fields.length <= mostFields * 2) return fields;
  throw new DriverError(
    "INVALID_MESSAGE",
    `redis: the message has ${fields.length / 2} fields; ${mostFields} is the most`,
  );
}

/** n.b. JSON escapes halves of characters, so any string comes back as it was. */
function rest(headers: Headers, carried: Headers): string | undefined {
  const left = emptyHeaders();
  let any = false;
  for (const name of Object.keys(headers)) {
    const value = headers[name];
    if (value === undefined || carried[name] === value) continue;
    left[name] = value;
    any = true;
  }
  return any ? JSON.stringify(left) : undefined;
}

function keyOf(key: string | Bytes): string | Buffer {
  return typeof key === "string" ? wellFormed("key", key) : toBuffer(key);
}

function wellFormed(what: string, text: string): string {
  if (text.isWellFormed()) return text;
  throw new DriverError("INVALID_MESSAGE", `redis: the ${what} is text with half a character; use well-formed text`);
}

function toBuffer(bytes: Bytes): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Where an entry was read. */
export interface Origin {
  readonly source: Source;
  readonly stream: string;
  readonly shard: string;
  /** The server's count, this hand-out included; `undefined` where nobody counts. */
  readonly deliveries: number | undefined;
  readonly fence: bigint | undefined;
}

/** An entry as a delivery. */
export function fromEntry(id: string, flat: readonly Buffer[], origin: Origin): Delivery {
  const native = toMessage(origin.stream, id, flat);
  const { own, others } = sortOut(native.fields);
  const whole = own.data === undefined && own.nothing === undefined;
  const headers = emptyHeaders();
  if (!whole) {
    for (const [name, value] of others) {
      const text = textOf(value);
      if (text !== undefined) headers[name] = text;
    }
  }
  readHeaders(own.headers, headers);
  const before = Number(own.deliveries ?? 0);
  return {
    // n.b. an entry id is unique in its stream only.
    id: own.id?.toString() ?? `${id}@${origin.stream}`,
    key: whole ? null : toKey(own.key),
    body: whole ? jsonOf(native) : bytesOf(own.data),
    headers,
    time: timeOf(own.time, id),
    source: origin.source,
    shard: origin.shard,
    deliveries:
      origin.deliveries === undefined
        ? undefined
        : origin.deliveries + (Number.isSafeInteger(before) && before > 0 ? before : 0),
    fence: origin.fence,
    native,
  };
}

/** n.b. what was received is a slice of a socket's buffer and would pin all of it: the values get memory of their own, in one piece. */
function toMessage(stream: string, id: string, flat: readonly Buffer[]): RedisMessage {
  let bytes = 0;
  for (let index = 1; index < flat.length; index += 2) bytes += flat[index]?.length ?? 0;
  const memory = Buffer.allocUnsafeSlow(bytes);
  const fields: [string, Buffer][] = [];
  let at = 0;
  for (let index = 0; index + 1 < flat.length; index += 2) {
    const end = at + (flat[index + 1]?.copy(memory, at) ?? 0);
    fields.push([String(flat[index]), memory.subarray(at, end)]);
    at = end;
  }
  return { stream, id, fields };
}

interface OwnFields {
  data?: Buffer;
  nothing?: Buffer;
  key?: Buffer;
  id?: Buffer;
  time?: Buffer;
  headers?: Buffer;
  deliveries?: Buffer;
}

const ownNames: ReadonlyMap<string, keyof OwnFields> = new Map([
  [dataField, "data"],
  [nullField, "nothing"],
  [keyField, "key"],
  [wire.id, "id"],
  [wire.time, "time"],
  [headersField, "headers"],
  [deliveriesField, "deliveries"],
]);

function sortOut(fields: RedisMessage["fields"]): { readonly own: OwnFields; readonly others: RedisMessage["fields"] } {
  const own: OwnFields = {};
  const others: (readonly [string, Buffer])[] = [];
  for (const field of fields) {
    const member = ownNames.get(field[0]);
    if (member) own[member] = field[1];
    else if (!field[0].startsWith(ownPrefix)) others.push(field);
  }
  return { own, others };
}

/** Whether the fields are the message themselves. */
function isWhole(fields: RedisMessage["fields"]): boolean {
  return !fields.some(([name]) => name === dataField || name === nullField);
}

/** `undefined`: not UTF-8, so a string would not bring it back. */
function textOf(value: Buffer): string | undefined {
  return isUtf8(value) ? value.toString() : undefined;
}

function readHeaders(json: Buffer | undefined, into: Headers): void {
  if (json === undefined) return;
  const found = parse(json.toString());
  if (typeof found !== "object" || found === null) return;
  for (const [name, value] of Object.entries(found)) if (typeof value === "string") into[name] = value;
}

/** A foreign program may have written anything there. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function jsonOf({ fields }: RedisMessage): Bytes {
  const body = emptyHeaders();
  for (const [name, value] of fields) if (!name.startsWith(ownPrefix)) body[name] = value.toString();
  return new TextEncoder().encode(JSON.stringify(body));
}

function toKey(value: Buffer | undefined): Key {
  if (value === undefined) return null;
  return textOf(value) ?? new Uint8Array(value);
}

function bytesOf(value: Buffer | undefined): Bytes | null {
  return value === undefined ? null : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

/** n.b. the server's clock, where the writer said nothing: it is in the id. */
function timeOf(value: Buffer | undefined, id: string): number | undefined {
  return readTime(Number(value ?? id.split("-", 1)[0]));
}

/** A copy may come from another broker's driver: only our own messages are read. */
function isRedisMessage(native: unknown): native is RedisMessage {
  return (
    typeof native === "object" &&
    native !== null &&
    "stream" in native &&
    "fields" in native &&
    Array.isArray(native.fields)
  );
}
