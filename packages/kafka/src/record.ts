import { isUtf8 } from "node:buffer";
import {
  type Bytes,
  type Delivery,
  type Destination,
  type Headers,
  type Key,
  type SendItem,
  emptyHeaders,
  readDestination,
  readTime,
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
/** Kafka's clients put the id of a schema there as bytes: in `headers` it is their lower-case hex text, both ways. */
const hexHeaders: ReadonlySet<string> = new Set(["__key_schema_id", "__value_schema_id"]);
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
  const { source, shard, deliveries, fence } = receiver;
  const read = incomingHeaders(record);
  const { headers, written } = read;
  // Copied, so that a record that is kept for long does not keep the whole fetch answer in memory.
  const body = record.value && Buffer.from(record.value);
  const key = record.key && textOf(record.key);
  const time = Number(written?.[wire.time] ?? record.timestamp);
  const forward = "delayed" in source ? forwardOf(written) : undefined;
  return {
    id: written?.[wire.id] ?? `${place.topic}/${place.partition}/${record.offset}`,
    key,
    body,
    headers,
    time: readTime(time),
    source,
    shard,
    deliveries,
    fence,
    ...(forward && { forward }),
    native: new ReadMessage(record, place, { key, body, read }),
  };
}

/** What strings of the portable view cannot hold is kept; the rest is made when somebody asks, which hardly anybody does. */
class ReadMessage implements KafkaMessage {
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  readonly timestamp: string;
  readonly value: Buffer | null;
  readonly #key: string | Buffer | null;
  readonly #read: ReadHeaders;
  #headers: KafkaMessage["headers"] | undefined;

  constructor(
    { offset, timestamp }: ClientRecord,
    { topic, partition }: { readonly topic: string; readonly partition: number },
    portable: { readonly key: string | Buffer | null; readonly body: Buffer | null; readonly read: ReadHeaders },
  ) {
    this.topic = topic;
    this.partition = partition;
    this.offset = offset;
    this.timestamp = timestamp;
    this.value = portable.body;
    this.#key = portable.key;
    this.#read = portable.read;
  }

  get key(): Buffer | null {
    return typeof this.#key === "string" ? Buffer.from(this.#key) : this.#key;
  }

  get headers(): KafkaMessage["headers"] {
    const { written, headers, odd } = this.#read;
    this.#headers ??= Object.assign(emptyHeaders(), written, headers, odd);
    return this.#headers;
  }
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
  if (from) carryOver(headers, record.headers, from);
  for (const name in record.headers) headers[name] ??= outgoingValue(name, record.headers[name] ?? "");
  return headers;
}

/** n.b. what is no hex text goes as it is: whoever gave it meant text. */
function outgoingValue(name: string, value: string): string | Buffer {
  if (!hexHeaders.has(name) || !/^(?:[\da-f]{2})+$/.test(value)) return value;
  return Buffer.from(value, "hex");
}

function carryOver(headers: ClientMessage["headers"], wanted: Headers, from: Delivery): void {
  const nulls: string[] = [];
  for (const [name, value] of Object.entries(nativeHeaders(from))) {
    if (own.has(name) || wanted[name] !== from.headers[name]) continue;
    const values = valuesOf(value);
    if (values.includes(null)) nulls.push(name);
    const [first = "", ...rest] = values.map((one) => one ?? "");
    headers[name] = rest.length === 0 ? first : [first, ...rest];
  }
  if (nulls.length > 0) headers[nullHeaders] = nulls.join(",");
}

type OddHeaders = Record<string, HeaderValue | readonly HeaderValue[]>;

interface ReadHeaders {
  readonly headers: Headers;
  /** What this driver wrote. */
  readonly written: Headers | undefined;
  /** Native values that are no single text. */
  readonly odd: OddHeaders | undefined;
}

function incomingHeaders({ headers: read }: ClientRecord): ReadHeaders {
  const headers = emptyHeaders();
  let written: Headers | undefined;
  let odd: OddHeaders | undefined;
  for (const name in read) {
    const value = read[name];
    const hex = hexHeaders.has(name);
    // n.b. bytes of an id may happen to be UTF-8: they are hex text in any case.
    let text: HeaderValue | undefined = Buffer.isBuffer(value) && !hex ? textOf(value) : undefined;
    if (typeof text !== "string") {
      const values = valuesOf(value);
      text = values.at(-1);
      (odd ??= Object.create(null) as OddHeaders)[name] = values.length === 1 && text !== undefined ? text : values;
      if (text === null || text === undefined) continue;
    }
    const place = own.has(name) ? (written ??= emptyHeaders()) : headers;
    place[name] = hex ? hexOf(text) : text.toString();
  }
  for (const name of written?.[nullHeaders]?.split(",") ?? []) {
    if (headers[name] === "") (odd ??= Object.create(null) as OddHeaders)[name] = null;
    delete headers[name];
  }
  return { headers, written, odd };
}

/** Text where the bytes are UTF-8, else a copy of them. */
function textOf(bytes: Buffer): string | Buffer {
  const text = bytes.toString();
  // The replacement character may stand in the text itself.
  return text.includes("\ufffd") && !isUtf8(bytes) ? Buffer.from(bytes) : text;
}

function hexOf(value: string | Buffer): string {
  return (typeof value === "string" ? Buffer.from(value) : value).toString("hex");
}

/** Text as strings, other bytes copied. n.b. a header called `__proto__` reads as `[Object.prototype, Buffer]`: what is no value is dropped. */
function valuesOf(value: ClientHeader | readonly ClientHeader[]): readonly HeaderValue[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.flatMap((one): readonly HeaderValue[] => {
    if (one === null) return [null];
    if (typeof one === "string") return [one];
    if (!(one instanceof Uint8Array)) return [];
    return [textOf(asBuffer(one))];
  });
}

function forwardOf(written: Headers | undefined): { readonly to: Destination; readonly notBefore: number } | undefined {
  const to = readDestination(written?.[wire.to]);
  const notBefore = readTime(Number(written?.[wire.notBefore]));
  return to === undefined || notBefore === undefined ? undefined : { to, notBefore };
}

function nativeHeaders({ native }: Delivery): KafkaMessage["headers"] {
  const ours = typeof native === "object" && native !== null && "headers" in native && "partition" in native;
  return ours ? (native as KafkaMessage).headers : {};
}

function asBuffer(bytes: Bytes): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
