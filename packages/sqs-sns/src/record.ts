import { createHash } from "node:crypto";
import type { Message } from "@aws-sdk/client-sqs";
import {
  type Delivery,
  type Destination,
  emptyHeaders,
  type Headers,
  type Key,
  type OutgoingRecord,
  type SendItem,
  type Source,
  readTime,
  wire,
} from "@sluice/core/driver";
import { type Attribute, type Attributes, bodyName, pack, sizeOf, unpack } from "./attributes.ts";
import { decodeBody, encodeBody } from "./body.ts";
import { unwrap } from "./envelope.ts";

/** A record as both services take it. */
export interface NativeRecord {
  readonly body: string;
  readonly attributes: Record<string, Attribute>;
  /** What counts towards their limits. */
  readonly bytes: number;
}

/** `waits`: it goes to a waiting place, or waits in a queue for longer than one delay of the queue's. */
export function toNative(
  { record, from, notBefore, to }: SendItem,
  waits: "here" | "elsewhere" | undefined,
): NativeRecord {
  const { text, encoding } = encodeBody(record.body);
  const headers = headersOf(record);
  if (waits !== undefined && notBefore !== undefined) headers[wire.notBefore] = String(notBefore);
  if (waits === "elsewhere") headers[wire.to] = JSON.stringify(to);
  const attributes = pack(headers, encoding, attributesOf(from?.native));
  return { body: text, attributes, bytes: Buffer.byteLength(text) + sizeOf(attributes) };
}

function headersOf(record: OutgoingRecord): Headers {
  const headers = Object.assign<Headers, Headers>(emptyHeaders(), record.headers);
  headers[wire.id] = record.id;
  headers[wire.time] = String(record.time);
  if (typeof record.key === "string") headers[wire.key] = record.key;
  else if (record.key !== null) headers[wire.keyBytes] = Buffer.from(record.key).toString("base64");
  return headers;
}

/** Where a FIFO queue keeps the order. Keys that are no legal group id get one by their digest; without a key nothing waits. */
export function groupId({ key, dedupId }: Pick<OutgoingRecord, "key" | "dedupId">): string {
  if (key === null) return digest(dedupId);
  if (typeof key !== "string") return digest(key);
  return legalId(key) ? key : digest(key);
}

/** n.b. Of the write, not of the message: within five minutes the copy of a move would be swallowed. */
export function deduplicationId({ dedupId }: OutgoingRecord): string {
  return legalId(dedupId) ? dedupId : digest(dedupId);
}

function legalId(text: string): boolean {
  return /^[\x21-\x7e]{1,128}$/.test(text);
}

function digest(text: string | Uint8Array): string {
  return `sluice-${createHash("sha256").update(text).digest("hex")}`;
}

/** What a received message is before it is somebody's delivery. */
export interface Received {
  readonly headers: Headers;
  /** Of a message that waits: when it is due, wall milliseconds. */
  readonly notBefore: number | undefined;
  /** Of one that waits for another destination. */
  readonly to: Destination | undefined;
  delivery(source: Source, shard: string): Delivery;
}

/** A received message. n.b. The native message is the same object for ever: copies of it find their attributes there. */
export function fromNative(message: Message): Received {
  const { body, attributes } = unwrap(message.Body ?? "", message.MessageAttributes ?? {});
  const system = message.Attributes ?? {};
  const headers = unpack(attributes);
  const id = taken(headers, wire.id) ?? message.MessageId;
  const key = keyOf(headers, system.MessageGroupId);
  const time = readTime(count(taken(headers, wire.time)) ?? count(system.SentTimestamp));
  const notBefore = count(taken(headers, wire.notBefore));
  const to = destination(taken(headers, wire.to));
  return {
    headers,
    notBefore,
    to,
    delivery: (source, shard) => {
      const delivery = {
        id,
        key,
        body: decodeBody(body, attributes[bodyName]?.StringValue),
        headers,
        time,
        source,
        shard,
        deliveries: count(system.ApproximateReceiveCount),
        fence: undefined,
        native: message,
      };
      if (!("delayed" in source)) return delivery;
      return to ? { ...delivery, forward: { to, notBefore: notBefore ?? 0 } } : delivery;
    },
  };
}

function keyOf(headers: Headers, group: string | undefined): Key {
  const text = taken(headers, wire.key);
  const base64 = taken(headers, wire.keyBytes);
  if (text !== undefined) return text;
  if (base64 !== undefined) return new Uint8Array(Buffer.from(base64, "base64"));
  return group === undefined || group.startsWith("sluice-") ? null : group;
}

function taken(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  delete headers[name];
  return value;
}

function count(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
}

function destination(text: string | undefined): Destination | undefined {
  if (text === undefined) return undefined;
  try {
    const to = JSON.parse(text) as Partial<Record<"topic" | "group" | "deadLetter", unknown>> | null;
    if (typeof to?.topic !== "string") return undefined;
    if (typeof to.group !== "string") return { topic: to.topic };
    return { topic: to.topic, group: to.group, ...(to.deadLetter === true && { deadLetter: true }) };
  } catch {
    return undefined;
  }
}

/** Attributes of a message of ours or of a foreign one. A copy may come from another broker's driver: then there are none. */
function attributesOf(native: unknown): Attributes {
  if (typeof native !== "object" || native === null || !("ReceiptHandle" in native)) return {};
  const { Body, MessageAttributes } = native as Message;
  return unwrap(Body ?? "", MessageAttributes ?? {}).attributes;
}
