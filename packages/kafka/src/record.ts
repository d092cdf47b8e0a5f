import {
  type Bytes,
  type Delivery,
  type Destination,
  type Headers,
  type Key,
  type SendItem,
  type Source,
  emptyHeaders,
  wire,
} from "@sluice/core/driver";
import type { ClientHeader, ClientMessage, ClientRecord } from "./client.ts";

/** Native record of a delivery: what was read, with where it was read. */
export interface KafkaMessage extends ClientRecord {
  readonly topic: string;
  readonly partition: number;
}

/** Names of headers whose value was null: kafkajs can read a null value and cannot write one. */
const nullHeaders = "sluice-null-headers";
/** Headers that this driver writes and takes off again. */
const own: ReadonlySet<string> = new Set([wire.id, wire.time, wire.to, wire.notBefore, nullHeaders]);
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const text = new TextDecoder("utf-8", { ignoreBOM: true });

/** What is appended for an item. `now` is the wall time; `waiting` = it goes to a waiting place first. */
export function toKafka(item: SendItem, now: number, waiting: boolean): Omit<ClientMessage, "partition"> {
  const { record } = item;
  const headers = outgoingHeaders(item);
  headers[wire.id] = record.id;
  // n.b. retention counts from the timestamp: a copy of an old message with its old time would be deleted at once. Ahead of
  // the broker's clock by more than an hour is refused.
  const fresh = item.from === undefined && !waiting && item.to.group === undefined && Math.abs(now - record.time) < 60_000;
  if (!fresh) headers[wire.time] = String(record.time);
  if (waiting) {
    headers[wire.to] = JSON.stringify(item.to);
    headers[wire.notBefore] = String(item.notBefore);
  }
  return {
    key: keyBytes(record.key),
    value: record.body === null ? null : asBuffer(record.body),
    timestamp: String(fresh ? record.time : now),
    headers,
  };
}

/** The portable view of a record. Names and numbers of the receiver are added by the caller. */
export function fromKafka(
  message: KafkaMessage,
  receiver: { readonly source: Source; readonly shard: string; readonly deliveries: number | undefined; readonly fence: bigint | undefined },
): Delivery {
  const { headers, own: written } = incomingHeaders(message);
  const time = Number(written[wire.time] ?? message.timestamp);
  const forward = forwardOf(written);
  return {
    id: written[wire.id] ?? `${message.topic}/${message.partition}/${message.offset}`,
    key: portableKey(message.key),
    body: message.value,
    headers,
    time: Number.isSafeInteger(time) && time >= 0 ? time : undefined,
    ...receiver,
    ...(forward && "delayed" in receiver.source ? { forward } : {}),
    native: message,
  };
}

/** When a waiting record is due; 0 for a record that does not say. */
export function dueOf(record: ClientRecord): number {
  const value = record.headers?.[wire.notBefore];
  const due = Number(stringOf(Array.isArray(value) ? value.at(-1) : (value as ClientHeader)) ?? 0);
  return Number.isSafeInteger(due) ? due : 0;
}

/** Key as bytes on the wire; null stays null and empty stays empty. */
export function keyBytes(key: Key): Buffer | null {
  if (key === null) return null;
  return typeof key === "string" ? Buffer.from(key) : asBuffer(key);
}

/** Copies what was read, so that a record kept for long does not keep the whole fetch answer in memory. */
export function detach(record: ClientRecord, topic: string, partition: number): KafkaMessage {
  const headers: Record<string, ClientHeader | readonly ClientHeader[]> = Object.create(null);
  for (const [name, value] of Object.entries(record.headers ?? {})) {
    headers[name] = Array.isArray(value) ? value.map(copy) : copy(value as ClientHeader);
  }
  const { offset, timestamp } = record;
  return { topic, partition, offset, timestamp, key: copyBuffer(record.key), value: copyBuffer(record.value), headers };
}

function outgoingHeaders(item: SendItem): ClientMessage["headers"] {
  const headers: ClientMessage["headers"] = Object.create(null);
  const native = nativeOf(item.from);
  const nulls: string[] = [];
  for (const [name, value] of Object.entries(native?.headers ?? {})) {
    if (own.has(name) || !(name in (item.from?.headers ?? {}) ? item.record.headers[name] === item.from?.headers[name] : true)) continue;
    const values = binaryValues(value);
    if (values.some((part) => part === null)) nulls.push(name);
    const written = values.map((part) => part ?? Buffer.alloc(0));
    headers[name] = written.length === 1 && written[0] ? written[0] : written;
  }
  for (const [name, value] of Object.entries(item.record.headers)) headers[name] ??= value;
  if (nulls.length > 0) headers[nullHeaders] = nulls.join(",");
  return headers;
}

function incomingHeaders(message: KafkaMessage): { readonly headers: Headers; readonly own: Headers } {
  const headers = emptyHeaders();
  const written = emptyHeaders();
  for (const [name, value] of Object.entries(message.headers ?? {})) {
    const string = stringOf(binaryValues(value).at(-1));
    if (string === undefined) continue;
    (own.has(name) ? written : headers)[name] = string;
  }
  for (const name of written[nullHeaders]?.split(",") ?? []) delete headers[name];
  return { headers, own: written };
}

/** n.b. a header called `__proto__` reads as `[Object.prototype, Buffer]`: what is neither bytes nor null is dropped. */
function binaryValues(value: ClientHeader | readonly ClientHeader[]): readonly (Buffer | null)[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.flatMap((part) => {
    if (part === null || part === undefined) return [null];
    if (typeof part === "string") return [Buffer.from(part)];
    return part instanceof Uint8Array ? [asBuffer(part)] : [];
  });
}

function stringOf(value: ClientHeader): string | undefined {
  if (value === null || value === undefined) return undefined;
  return typeof value === "string" ? value : text.decode(value);
}

function forwardOf(written: Headers): { readonly to: Destination; readonly notBefore: number } | undefined {
  const to = written[wire.to];
  if (to === undefined) return undefined;
  try {
    return { to: JSON.parse(to) as Destination, notBefore: Number(written[wire.notBefore]) };
  } catch {
    return undefined;
  }
}

function nativeOf(delivery: Delivery | undefined): ClientRecord | undefined {
  const native = delivery?.native;
  return typeof native === "object" && native !== null && "headers" in native && "offset" in native
    ? (native as ClientRecord)
    : undefined;
}

/** Text keys as strings; bytes that are no UTF-8 stay bytes. */
function portableKey(key: Buffer | null): Key {
  if (key === null) return null;
  try {
    return utf8.decode(key);
  } catch {
    return key;
  }
}

function asBuffer(bytes: Bytes): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function copy(value: ClientHeader): ClientHeader {
  return value instanceof Uint8Array ? Buffer.from(value) : value;
}

function copyBuffer(value: Buffer | null): Buffer | null {
  return value === null ? null : Buffer.from(value);
}
