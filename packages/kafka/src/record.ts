import { isUtf8 } from "node:buffer";
import {
  type Bytes,
  type Delivery,
  type Destination,
  type Headers,
  type Key,
  type SendItem,
  emptyHeaders,
  wire,
} from "@sluice/core/driver";
import type { ClientHeader, ClientMessage, ClientRecord } from "./client.ts";

/** The native record of a delivery: as it was read, with where. Header values that are UTF-8 text are strings. */
export interface KafkaMessage {
  readonly topic: string;
  readonly partition: number;
  /** Decimal, as all 64-bit numbers of Kafka. */
  readonly offset: string;
  /** Wall milliseconds, decimal. */
  readonly timestamp: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, HeaderValue | readonly HeaderValue[]>>;
}

/** `null` is a value like any other; several values under one name are an array. */
export type HeaderValue = string | Buffer | null;

/** Names of headers whose value was null: kafkajs can read a null value and cannot write one. */
const nullHeaders = "sluice-null-headers";
/** Headers that this driver writes and takes off again. */
const own: ReadonlySet<string> = new Set([wire.id, wire.time, wire.to, wire.notBefore, nullHeaders]);
const maxClockSkewMs = 60_000;

/** What is appended for an item. `now` is the wall time; `waiting` = it goes to a waiting place first. */
export function toKafka(item: SendItem, now: number, waiting: boolean): Omit<ClientMessage, "partition"> {
  const { record, to } = item;
  const headers = outgoingHeaders(item);
  headers[wire.id] = record.id;
  // n.b. retention counts from the timestamp, so a copy of an old message with its old time would be deleted at once; and one that
  // is an hour ahead of the broker is refused.
  const first =
    item.from === undefined && !waiting && to.group === undefined && Math.abs(now - record.time) < maxClockSkewMs;
  if (!first) headers[wire.time] = String(record.time);
  if (waiting) {
    headers[wire.to] = JSON.stringify(to);
    headers[wire.notBefore] = String(item.notBefore);
  }
  return {
    key: keyBytes(record.key),
    value: record.body === null ? null : asBuffer(record.body),
    timestamp: String(first ? record.time : now),
    headers,
  };
}

/** The portable view of a record. What only the receiver knows is added by it. */
export function fromKafka(
  record: ClientRecord,
  place: { readonly topic: string; readonly partition: number },
  receiver: Pick<Delivery, "source" | "shard" | "deliveries" | "fence">,
): Delivery {
  const { topic, partition } = place;
  const { headers, written, native } = incomingHeaders(record);
  const time = Number(written[wire.time] ?? record.timestamp);
  const forward = "delayed" in receiver.source ? forwardOf(written) : undefined;
  // Copied, so that a record that is kept for long does not keep the whole fetch answer in memory.
  const key = record.key && Buffer.from(record.key);
  const value = record.value && Buffer.from(record.value);
  const { offset, timestamp } = record;
  const message: KafkaMessage = { topic, partition, offset, timestamp, key, value, headers: native };
  return {
    id: written[wire.id] ?? `${topic}/${partition}/${offset}`,
    key: key && isUtf8(key) ? key.toString() : key,
    body: value,
    headers,
    time: Number.isSafeInteger(time) && time >= 0 ? time : undefined,
    source: receiver.source,
    shard: receiver.shard,
    deliveries: receiver.deliveries,
    fence: receiver.fence,
    ...(forward && { forward }),
    native: message,
  };
}

/** When a waiting record is due; 0 for a record that does not say. */
export function dueOf(record: ClientRecord): number {
  const value = valuesOf(record.headers?.[wire.notBefore]).at(-1);
  const due = Number(value ?? 0);
  return Number.isSafeInteger(due) ? due : 0;
}

function keyBytes(key: Key): Buffer | null {
  if (key === null) return null;
  return typeof key === "string" ? Buffer.from(key) : asBuffer(key);
}

/** Native values of what core left as it was, and core's strings for the rest. */
function outgoingHeaders({ record, from }: SendItem): ClientMessage["headers"] {
  const headers: ClientMessage["headers"] = Object.create(null);
  const nulls: string[] = [];
  for (const [name, value] of Object.entries(nativeHeaders(from))) {
    if (own.has(name) || record.headers[name] !== from?.headers[name]) continue;
    const values = valuesOf(value);
    if (values.includes(null)) nulls.push(name);
    const [first = "", ...rest] = values.map((one) => one ?? "");
    headers[name] = rest.length === 0 ? first : [first, ...rest];
  }
  for (const [name, value] of Object.entries(record.headers)) headers[name] ??= value;
  if (nulls.length > 0) headers[nullHeaders] = nulls.join(",");
  return headers;
}

function incomingHeaders({ headers: read = {} }: ClientRecord): {
  headers: Headers;
  written: Headers;
  native: Record<string, HeaderValue | readonly HeaderValue[]>;
} {
  const headers = emptyHeaders();
  const written = emptyHeaders();
  const native: Record<string, HeaderValue | readonly HeaderValue[]> = Object.create(null);
  for (const name of Object.keys(read)) {
    const values = valuesOf(read[name]);
    const last = values.at(-1);
    native[name] = values.length === 1 && last !== undefined ? last : values;
    if (last === null || last === undefined) continue;
    (own.has(name) ? written : headers)[name] = last.toString();
  }
  for (const name of written[nullHeaders]?.split(",") ?? []) {
    delete headers[name];
    if (native[name] === "") native[name] = null;
  }
  return { headers, written, native };
}

/** Text as strings, other bytes copied. n.b. a header called `__proto__` reads as `[Object.prototype, Buffer]`: what is no value is dropped. */
function valuesOf(value: ClientHeader | readonly ClientHeader[]): readonly HeaderValue[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.flatMap((one): readonly HeaderValue[] => {
    if (one === null) return [null];
    if (typeof one === "string") return [one];
    if (!(one instanceof Uint8Array)) return [];
    const bytes = asBuffer(one);
    return [isUtf8(bytes) ? bytes.toString() : Buffer.from(bytes)];
  });
}

function forwardOf(written: Headers): { readonly to: Destination; readonly notBefore: number } | undefined {
  try {
    const to: unknown = JSON.parse(written[wire.to] ?? "null");
    return isDestination(to) ? { to, notBefore: Number(written[wire.notBefore]) } : undefined;
  } catch {
    return undefined;
  }
}

function isDestination(value: unknown): value is Destination {
  return typeof value === "object" && value !== null && "topic" in value && typeof value.topic === "string";
}

function nativeHeaders(from: Delivery | undefined): KafkaMessage["headers"] {
  const native = from?.native;
  const ours = typeof native === "object" && native !== null && "headers" in native && "partition" in native;
  return ours ? (native as KafkaMessage).headers : {};
}

function asBuffer(bytes: Bytes): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
