import { protos } from "@google-cloud/pubsub";
import {
  type Delivery,
  DriverError,
  type Headers,
  type Key,
  type SendItem,
  type Source,
  readDestination,
  readTime,
  wire,
} from "@sluice/core/driver";
import { type Attributes, fromAttributes, toAttributes } from "./attributes.ts";
import type { GooglePubsubMessage } from "./options.ts";

type NativeMessage = protos.google.pubsub.v1.IPubsubMessage;
type ReceivedMessage = protos.google.pubsub.v1.IReceivedMessage;

/** Marks an empty body that was `null`: on the wire both are nothing. */
const nullBody = "sluice-null-body";

/** What this mapping itself writes and reads. */
const own: ReadonlySet<string> = new Set([
  wire.id,
  wire.time,
  wire.key,
  wire.keyBytes,
  wire.to,
  wire.notBefore,
  nullBody,
]);

const isOwn = (name: string): boolean => own.has(name);

/** Pub/Sub's limit for an ordering key. */
const longestKey = 1_024;

/** The ordering key of the empty key: on the wire an empty one is none. */
const emptyKey = "sluice-empty-key";

/** A record as the API's message. `waiting`: it goes to the waiting place first. @throws DriverError INVALID_MESSAGE | TOO_LARGE */
export function toNative({ record, to, notBefore }: SendItem, waiting: boolean): NativeMessage {
  const fields: Attributes = { [wire.id]: attribute("id", record.id), [wire.time]: String(record.time) };
  const orderingKey = setKey(fields, record.key);
  if (record.body === null) fields[nullBody] = "1";
  if (waiting) {
    fields[wire.to] = JSON.stringify(to);
    fields[wire.notBefore] = String(notBefore);
    // Without it a key would come out of the waiting place in the order in which it went in, and not when it is due.
    if (orderingKey !== "" && fields[wire.keyBytes] === undefined) fields[wire.key] = String(record.key);
  }
  return {
    attributes: toAttributes(record.headers, fields),
    orderingKey: waiting ? "" : orderingKey,
    ...(record.body && { data: record.body }),
  };
}

function setKey(fields: Attributes, key: Key): string {
  if (key === null) return "";
  if (key === "") {
    fields[wire.key] = "";
    return emptyKey;
  }
  if (typeof key === "string") {
    if (key.isWellFormed() && Buffer.byteLength(key) <= longestKey) return key;
    throw invalid(
      `the key has ${Buffer.byteLength(key)} bytes or is not well-formed; ${longestKey} bytes is the limit`,
    );
  }
  const base64 = Buffer.from(key).toString("base64");
  if (base64.length > longestKey) throw invalid(`the key has ${key.length} bytes; 768 is the limit for bytes`);
  fields[wire.keyBytes] = base64;
  return base64 === "" ? emptyKey : base64;
}

function attribute(name: string, value: string): string {
  if (Buffer.byteLength(value) <= 1_024 && value.isWellFormed()) return value;
  throw invalid(`${name} has ${Buffer.byteLength(value)} bytes or is not well-formed; 1024 bytes is the limit`);
}

function invalid(what: string): DriverError {
  return new DriverError("INVALID_MESSAGE", `google-pubsub: ${what}`);
}

/** A received message as a delivery. The body is copied: it is a slice of a response that holds many. */
export function fromNative(received: ReceivedMessage, source: Source, subscription: string): Delivery {
  const message = received.message ?? {};
  const attributes = message.attributes ?? {};
  const body = bodyOf(message);
  const headers = fromAttributes(attributes, isOwn);
  const attempt = received.deliveryAttempt ?? 0;
  if (source.topic !== undefined && "deadLetter" in source && source.deadLetter) addDeathReason(headers, attributes);
  const native: GooglePubsubMessage = {
    ...message,
    ...(body && { data: body }),
    subscription,
    deliveryAttempt: attempt,
  };
  const forward = source.topic === undefined ? forwardOf(attributes) : undefined;
  return {
    id: attributes[wire.id] ?? message.messageId ?? undefined,
    key: keyOf(message.orderingKey ?? "", attributes),
    body: attributes[nullBody] !== undefined && body.length === 0 ? null : body,
    headers,
    time: readTime(decimal(attributes[wire.time]) ?? millisecondsOf(message.publishTime)),
    source,
    shard: shardOf(subscription, message.orderingKey ?? ""),
    deliveries: attempt > 0 ? attempt : undefined,
    fence: undefined,
    ...(forward && { forward }),
    native,
  };
}

/** The order's scope is a key of a subscription; what has none is in no order. */
function shardOf(subscription: string, orderingKey: string): string {
  return orderingKey === "" ? subscription : `${subscription} ${orderingKey}`;
}

function bodyOf({ data }: NativeMessage): Uint8Array {
  if (typeof data === "string") return new Uint8Array(Buffer.from(data, "base64"));
  return new Uint8Array(data ?? []);
}

function keyOf(orderingKey: string, attributes: Readonly<Attributes>): Key {
  const base64 = attributes[wire.keyBytes];
  if (base64 !== undefined) return new Uint8Array(Buffer.from(base64, "base64"));
  return attributes[wire.key] ?? (orderingKey === "" ? null : orderingKey);
}

/** Wall milliseconds of an API timestamp. n.b. 64-bit numbers are objects there. */
function millisecondsOf(time: protos.google.protobuf.ITimestamp | null | undefined): number | undefined {
  if (!time) return undefined;
  return Number(time.seconds ?? 0) * 1_000 + Math.floor((time.nanos ?? 0) / 1_000_000);
}

/** When the broker took it, wall milliseconds of the broker. */
export function publishedMs({ message }: ReceivedMessage): number {
  return millisecondsOf(message?.publishTime) ?? 0;
}

function decimal(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d{1,16}$/.test(text) ? Number(text) : undefined;
}

function forwardOf(attributes: Readonly<Attributes>): Delivery["forward"] {
  const notBefore = decimal(attributes[wire.notBefore]);
  const to = readDestination(attributes[wire.to]);
  return to === undefined || notBefore === undefined ? undefined : { to, notBefore };
}

/** A dead letter of the broker's own delivery limit has none of our headers: say at least why it is there. */
function addDeathReason(headers: Headers, attributes: Readonly<Attributes>): void {
  const count = attributes["CloudPubSubDeadLetterSourceDeliveryCount"];
  if (count === undefined || headers["dlq-reason"] !== undefined) return;
  headers["dlq-reason"] = "crash-suspect";
  headers["dlq-error-message"] = `dead-lettered by the broker after ${count} deliveries`;
}
