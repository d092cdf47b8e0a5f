import { emptyHeaders } from "@sluice/core/driver";
import type { Bytes, Delivery, Headers, Key, OutgoingRecord, Source } from "@sluice/core/driver";

/** The native message: what a record has beside its portable parts. `delivery.native` and `context.native`. */
export class MemoryMessage {
  /** The topic that it was sent to, also for a copy in a group's own entry or in its dead letters. */
  readonly topic: string;
  /** When the broker stored this copy, wall milliseconds. A delayed record is stored when it is due. */
  readonly storedAtMs: number;
  /** Header values that are bytes; only a raw writer makes them. They survive a retry and a dead letter. */
  readonly binaryHeaders: Readonly<Record<string, Bytes>> | undefined;

  constructor(topic: string, storedAtMs: number, binaryHeaders: Readonly<Record<string, Bytes>> | undefined) {
    this.topic = topic;
    this.storedAtMs = storedAtMs;
    this.binaryHeaders = binaryHeaders;
  }
}

/** A record as the broker keeps it: shared by all groups, never handed out itself. */
export interface StoredRecord {
  readonly id: string | undefined;
  readonly key: Key;
  readonly body: Bytes | null;
  readonly headers: Headers;
  readonly time: number | undefined;
  readonly priority: number;
  readonly binaryHeaders: Readonly<Record<string, Bytes>> | undefined;
}

/** One record waiting in (or handed out of) one place. */
export interface Entry {
  readonly record: StoredRecord;
  /** Where it belongs: settling goes there. */
  readonly home: Home;
  /** Index of its order scope in its home. */
  readonly shard: number;
  /** Came through the group's own entry. */
  readonly own: boolean;
  /** Place in its home: grows with arrival, kept when it goes back. */
  readonly sequence: number;
  readonly native: MemoryMessage;
  /** How often it was handed out, without the returned ones. */
  deliveries: number;
  /** Monotonic milliseconds; meaningful while it is held. */
  leaseUntilMs: number;
}

/** A place that entries belong to: a mailbox or a list of dead letters. */
export interface Home {
  /** Done with it, for ever. */
  accept(entry: Entry): void;
  /** Back to its place; `counted: false` takes the delivery back. */
  giveBack(entry: Entry, counted: boolean): void;
}

/** Copies what a sender lent us: the contract takes it away after the call. `from` brings what strings cannot hold. */
export function toStored(record: OutgoingRecord, from: Delivery | undefined): StoredRecord {
  const native = from?.native;
  return {
    id: record.id,
    key: copyKey(record.key),
    body: copyBytes(record.body),
    headers: copyHeaders(record.headers),
    time: record.time,
    priority: record.priority ?? 0,
    binaryHeaders: native instanceof MemoryMessage ? native.binaryHeaders : undefined,
  };
}

/** A delivery has its own copies: what one handler does to a body is not seen by another group, nor by the next attempt. */
export function toDelivery(entry: Entry, source: Source, shard: string, fence: bigint | undefined): Delivery {
  const { record } = entry;
  return {
    id: record.id,
    key: copyKey(record.key),
    body: copyBytes(record.body),
    headers: copyHeaders(record.headers),
    time: record.time,
    source,
    shard,
    deliveries: entry.deliveries,
    fence,
    native: entry.native,
  };
}

/** n.b. `new Uint8Array(bytes)` copies; `slice` of a Buffer would be a view of the caller's memory. */
export function copyBytes(bytes: Bytes | null): Bytes | null {
  return bytes === null ? null : new Uint8Array(bytes);
}

export function copyKey(key: Key): Key {
  return typeof key === "string" ? key : copyBytes(key);
}

export function copyHeaders(headers: Headers): Headers {
  const copy = emptyHeaders();
  for (const name of Object.keys(headers)) {
    const value = headers[name];
    if (value !== undefined) copy[name] = value;
  }
  return copy;
}

export function keyBytes(key: string | Bytes): Bytes {
  return typeof key === "string" ? encoder.encode(key) : key;
}

/** FNV-1a over the key's bytes: the same key, as text or as bytes, has the same shard. */
export function hashKey(key: string | Bytes): number {
  let hash = 0x811c9dc5;
  for (const byte of keyBytes(key)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

const encoder = new TextEncoder();
