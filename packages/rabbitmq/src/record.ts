import type { Message, MessageProperties, Options } from "amqplib";
import {
  type Delivery,
  DriverError,
  type Headers,
  type Key,
  type OutgoingRecord,
  type Source,
  readTime,
  wire,
} from "@sluice/core/driver";
import { targetHeader } from "./delay-ladder.ts";
import { carried, checkSize, fromTable, type HeaderTable, toTable } from "./headers.ts";
import type { RabbitMessage } from "./options.ts";

/** Marks an empty body that was `null`: AMQP has no null body. */
const nullBodyHeader = "sluice-null-body";

/** What this mapping itself writes and reads. */
const own = new Set<string>([
  wire.id,
  wire.time,
  wire.key,
  wire.keyBytes,
  wire.to,
  wire.notBefore,
  targetHeader,
  nullBodyHeader,
]);

/** AMQP keeps text properties in one length byte. */
const longestProperty = 255;

/** What goes to `channel.publish`, without the route. */
export interface NativeRecord {
  readonly content: Buffer;
  readonly options: Options.Publish & { readonly headers: HeaderTable };
}

/**
 * A record as amqplib's message. `from`: the received message that this is a copy of. `target`: destination behind the delay ladder.
 * @throws DriverError INVALID_MESSAGE | TOO_LARGE when the wire cannot carry it; a value that slipped through would close the channel
 * or the whole connection.
 */
export function toNative(
  record: OutgoingRecord,
  { from, target, longestHeaders }: { from?: unknown; target?: string; longestHeaders: number },
): NativeRecord {
  const contentType = record.headers[wire.contentType];
  const copied = isRabbitMessage(from) ? from : undefined;
  const table: HeaderTable = carried(copied?.properties.headers, record.headers, isOwn);
  toTable(record.headers, table, wire.contentType);
  table[wire.time] = String(record.time);
  setKey(table, record.key);
  if (record.body === null) table[nullBodyHeader] = "1";
  if (target !== undefined) table[targetHeader] = target;
  checkSize(table, longestHeaders);
  return {
    content: toBuffer(record.body),
    options: {
      ...describing(record.headers),
      ...copiedProperties(copied?.properties),
      ...(contentType === undefined ? {} : { contentType: property("content-type", contentType) }),
      messageId: property("id", record.id),
      ...timestamp(record.time),
      headers: table,
      persistent: true,
      mandatory: true,
    },
  };
}

function isOwn(name: string): boolean {
  return own.has(name);
}

function setKey(table: HeaderTable, key: Key): void {
  if (key === null) return;
  if (typeof key !== "string") table[wire.keyBytes] = Buffer.from(key).toString("base64");
  else if (key.isWellFormed()) table[wire.key] = key;
  else
    throw new DriverError(
      "INVALID_MESSAGE",
      "rabbitmq: the key is text with half a character; use well-formed text or bytes",
    );
}

function toBuffer(body: Uint8Array | null): Buffer {
  return body === null ? Buffer.alloc(0) : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

/** n.b. whole seconds on the wire; the milliseconds are in a header. */
function timestamp(time: number): { readonly timestamp?: number } {
  const seconds = Math.floor(time / 1_000);
  return Number.isSafeInteger(seconds) && seconds >= 0 ? { timestamp: seconds } : {};
}

function property(name: string, value: string): string {
  if (fits(value)) return value;
  throw new DriverError(
    "INVALID_MESSAGE",
    `rabbitmq: ${name} "${value.slice(0, 40)}…" has ${Buffer.byteLength(value)} bytes or is not well-formed; ${longestProperty} bytes is the limit`,
  );
}

/** Properties that other programs look at, where the headers say the same. What does not fit is in the headers alone. */
function describing(headers: Headers): Options.Publish {
  const type = headers["cloudEvents_type"] ?? headers["cloudEvents:type"] ?? headers["ce-type"];
  const correlationId = headers["correlation-id"];
  return {
    ...(type !== undefined && fits(type) && { type }),
    ...(correlationId !== undefined && fits(correlationId) && { correlationId }),
  };
}

function fits(value: string): boolean {
  return Buffer.byteLength(value) <= longestProperty && value.isWellFormed();
}

/**
 * Properties of a foreign message that its copy keeps. Not `expiration`: a copy must not vanish while it waits for its next attempt.
 * Not `userId`: the broker closes the channel when it is not the login.
 */
function copiedProperties(properties: MessageProperties | undefined): Options.Publish {
  if (!properties) return {};
  const { contentEncoding, correlationId, replyTo, type, appId, priority } = properties;
  const given: Readonly<Record<string, unknown>> = { contentEncoding, correlationId, replyTo, type, appId, priority };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** Where a received message came from. */
export interface Origin {
  readonly source: Source;
  readonly shard: string;
  /** Whether its queue counts deliveries. */
  readonly counts: boolean;
}

/** A received message as a delivery. The content is copied: small ones are slices of a socket's read buffer and would pin it. */
export function fromNative(message: RabbitMessage, { source, shard, counts }: Origin): Delivery {
  const { properties } = message;
  const table: Record<string, unknown> | undefined = properties.headers;
  const bytes = new Uint8Array(message.content);
  message.content = Buffer.from(bytes.buffer);
  const headers = fromTable(table, isOwn);
  const contentType: unknown = properties.contentType;
  if (typeof contentType === "string") headers[wire.contentType] = contentType;
  if (source.topic !== undefined && "deadLetter" in source && source.deadLetter) addDeathReason(headers, table);
  const id: unknown = properties.messageId ?? table?.[wire.id];
  return {
    id: typeof id === "string" ? id : undefined,
    key: keyOf(table),
    body: table?.[nullBodyHeader] !== undefined && bytes.length === 0 ? null : bytes,
    headers,
    time: timeOf(properties, table),
    source,
    shard,
    deliveries: deliveriesOf(message, table, counts),
    fence: undefined,
    native: message,
  };
}

function keyOf(table: Readonly<Record<string, unknown>> | undefined): Key {
  const text = table?.[wire.key];
  if (typeof text === "string") return text;
  const base64 = table?.[wire.keyBytes];
  return typeof base64 === "string" ? new Uint8Array(Buffer.from(base64, "base64")) : null;
}

function timeOf(
  properties: MessageProperties,
  table: Readonly<Record<string, unknown>> | undefined,
): number | undefined {
  const exact = table?.[wire.time];
  if (typeof exact === "string" && /^\d{1,16}$/.test(exact)) return readTime(Number(exact));
  const seconds: unknown = properties.timestamp;
  return typeof seconds === "number" ? readTime(seconds * 1_000) : undefined;
}

/** n.b. the header is absent on the first delivery. A queue that does not count says at most whether it is the first one. */
function deliveriesOf(
  message: RabbitMessage,
  table: Readonly<Record<string, unknown>> | undefined,
  counts: boolean,
): number | undefined {
  const count = table?.["x-delivery-count"];
  // A foreign publisher may have set the header to anything.
  if (counts) return typeof count === "number" && Number.isSafeInteger(count) && count >= 0 ? count + 1 : 1;
  return message.fields.redelivered ? undefined : 1;
}

/** n.b. a publisher may set the header, to the name of what any object inherits too. */
const deathReasons: ReadonlyMap<string, string> = new Map([
  ["delivery_limit", "crash-suspect"],
  ["expired", "expired"],
]);

/** A dead letter of the broker's own (delivery limit, time to live) has none of our headers: say at least why it is there. */
function addDeathReason(headers: Headers, table: Readonly<Record<string, unknown>> | undefined): void {
  const reason = table?.["x-first-death-reason"];
  if (typeof reason !== "string" || headers["dlq-reason"] !== undefined) return;
  headers["dlq-reason"] = deathReasons.get(reason) ?? "rejected";
  headers["dlq-error-message"] = `dead-lettered by the broker: ${reason}`;
}

/** A copy may come from another broker's driver: only amqplib's own messages are read. */
function isRabbitMessage(native: unknown): native is Message {
  if (typeof native !== "object" || native === null || !("fields" in native) || !("properties" in native)) return false;
  const { fields, properties } = native;
  return (
    typeof fields === "object" &&
    fields !== null &&
    "deliveryTag" in fields &&
    typeof properties === "object" &&
    properties !== null
  );
}
