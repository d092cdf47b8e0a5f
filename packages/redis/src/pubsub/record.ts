import { isUtf8 } from "node:buffer";
import {
  type BroadcastSource,
  type Bytes,
  type Delivery,
  DriverError,
  emptyHeaders,
  type Headers,
  type Key,
  type OutgoingRecord,
  wire,
} from "@sluice/core/driver";
import type { RedisPubsubMessage } from "./options.ts";

/** Attributes of CloudEvents 1.0 that are not headers of ours. */
const attributes = new Set([
  "id",
  "source",
  "specversion",
  "type",
  "time",
  "datacontenttype",
  "dataschema",
  "subject",
  "data",
  "data_base64",
]);
/** CloudEvents' own extension for the key. */
const keyExtension = "partitionkey";
const keyBytesExtension = "sluicekeybase64";
/** Headers whose names or values no attribute can have, as JSON. */
const headersExtension = "sluiceheaders";

/** A header that says something of the event, by somebody who knows more than this driver: its source, its type, its subject. */
const attributeHeader = /^ce-([a-z][a-z0-9]{0,19})$/;
/** The record's own, whatever a header says. */
const recordAttributes = new Set(["id", "specversion", "datacontenttype", "data", keyExtension]);

/** Names and values that every reader of CloudEvents takes. */
const attributeName = /^[a-z][a-z0-9]{0,19}$/;
const attributeValue = /^[^\p{Cc}]+$/u;

export interface Envelope {
  readonly format: "cloudevents" | "raw";
  /** The `source` of events: who sends. */
  readonly source: string;
  /** Their `type`. */
  readonly topic: string;
}

/**
 * A record as the message of a channel.
 * @throws DriverError INVALID_MESSAGE when the format cannot carry it
 */
export function toMessage(record: OutgoingRecord, envelope: Envelope): string | Buffer {
  if (envelope.format === "raw") return rawOf(record);
  const { [wire.contentType]: contentType, ...headers } = record.headers;
  const event: Record<string, unknown> = {
    specversion: "1.0",
    id: record.id,
    source: envelope.source,
    type: envelope.topic,
    time: new Date(record.time).toISOString(),
    ...(contentType !== undefined && { datacontenttype: contentType }),
  };
  if (typeof record.key === "string") event[keyExtension] = record.key;
  else if (record.key !== null) event[keyBytesExtension] = Buffer.from(record.key).toString("base64");
  const rest = emptyHeaders();
  for (const [name, value] of Object.entries(headers)) {
    if (fits(name, value) && headers[`ce-${name}`] === undefined) event[name] = value;
    else rest[name] = value;
    const attribute = described(name, value);
    if (attribute !== undefined) event[attribute] = value;
  }
  if (Object.keys(rest).length > 0) event[headersExtension] = JSON.stringify(rest);
  return JSON.stringify(Object.assign(event, dataOf(record.body, contentType)));
}

function fits(name: string, value: string): boolean {
  return (
    attributeName.test(name) &&
    !attributes.has(name) &&
    name !== keyExtension &&
    !name.startsWith("sluice") &&
    isValue(value)
  );
}

/** The attribute that a header is besides. */
function described(name: string, value: string): string | undefined {
  const attribute = attributeHeader.exec(name)?.[1];
  if (attribute === undefined || recordAttributes.has(attribute) || attribute.startsWith("sluice")) return undefined;
  return isValue(value) ? attribute : undefined;
}

function isValue(value: string): boolean {
  return attributeValue.test(value) && value.isWellFormed();
}

function rawOf({ body }: OutgoingRecord): Buffer {
  if (body === null) {
    throw new DriverError(
      "INVALID_MESSAGE",
      "redis-pubsub: a raw message has a body; send bytes, or use format 'cloudevents'",
    );
  }
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

/** n.b. JSON goes in as JSON only where it comes out with the same bytes. */
function dataOf(body: Bytes | null, contentType: string | undefined): Record<string, unknown> {
  if (body === null) return {};
  const buffer = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (isJson(contentType) && isUtf8(buffer)) {
    const text = buffer.toString();
    const data = parse(text);
    if (data !== undefined && JSON.stringify(data) === text) return { data };
  } else if (contentType?.startsWith("text/") && isUtf8(buffer)) return { data: buffer.toString() };
  return { data_base64: buffer.toString("base64") };
}

function isJson(contentType: string | undefined): boolean {
  return contentType !== undefined && /^[^;]*[/+]json\s*(;|$)/i.test(contentType);
}

/** A message as a delivery; one that is no CloudEvent is a foreign program's payload, as it is. */
export function fromMessage(native: RedisPubsubMessage, source: BroadcastSource): Delivery {
  const event = eventOf(native.message);
  const plain = { source, shard: "", deliveries: undefined, fence: undefined, native };
  if (!event) {
    const body = new Uint8Array(native.message);
    return { ...plain, id: undefined, key: null, body, headers: emptyHeaders(), time: undefined };
  }
  const time = typeof event["time"] === "string" ? Date.parse(event["time"]) : Number.NaN;
  return {
    ...plain,
    id: typeof event["id"] === "string" ? event["id"] : undefined,
    key: keyOf(event),
    body: bodyOf(event),
    headers: headersOf(event),
    time: Number.isNaN(time) ? undefined : time,
  };
}

type Event = Readonly<Record<string, unknown>>;

function eventOf(message: Buffer): Event | undefined {
  // "{": no parsing of what cannot be one.
  if (message[0] !== 0x7b || !isUtf8(message)) return undefined;
  const event = parse(message.toString());
  return typeof event === "object" && event !== null && "specversion" in event && "id" in event
    ? { ...event }
    : undefined;
}

/** A foreign program may have sent anything. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function keyOf(event: Event): Key {
  const text = event[keyExtension];
  if (typeof text === "string") return text;
  const base64 = event[keyBytesExtension];
  return typeof base64 === "string" ? new Uint8Array(Buffer.from(base64, "base64")) : null;
}

function bodyOf(event: Event): Bytes | null {
  const base64 = event["data_base64"];
  if (typeof base64 === "string") return new Uint8Array(Buffer.from(base64, "base64"));
  if (!("data" in event)) return null;
  const { data, datacontenttype } = event;
  const json = typeof datacontenttype !== "string" || isJson(datacontenttype);
  return new TextEncoder().encode(typeof data === "string" && !json ? data : JSON.stringify(data));
}

function headersOf(event: Event): Headers {
  const headers = emptyHeaders();
  const { datacontenttype, [headersExtension]: rest } = event;
  const others = typeof rest === "string" ? parse(rest) : undefined;
  if (typeof datacontenttype === "string") headers[wire.contentType] = datacontenttype;
  for (const [name, value] of Object.entries(event)) {
    if (attributes.has(name) || name === keyExtension || name.startsWith("sluice")) continue;
    if (typeof others === "object" && others !== null && `ce-${name}` in others) continue;
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean")
      headers[name] = String(value);
  }
  if (typeof others === "object" && others !== null) {
    for (const [name, value] of Object.entries(others)) if (typeof value === "string") headers[name] = value;
  }
  return headers;
}
