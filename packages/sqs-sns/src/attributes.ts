import { emptyHeaders, type Headers, reservedHeaderPrefix } from "@sluice/core/driver";

/** A message attribute, as both services have it. */
export interface Attribute {
  readonly DataType: string | undefined;
  readonly StringValue?: string | undefined;
  readonly BinaryValue?: Uint8Array | undefined;
}

export type Attributes = Readonly<Record<string, Attribute>>;

/** Our own metadata: id, time, key, attempts, … as one JSON object of strings. */
const metadataName = "sluice";
/** Headers that are no legal attribute, or for which there is no room, the same way. A filter policy lets them pass. */
export const headersName = "sluice-headers";
/** How the body travels when it is no text: `base64`, `empty` or `null`. */
export const bodyName = "sluice-body";
/** Foreign binary attributes for which there is no room: JSON of data type and base64 by name. */
const binariesName = "sluice-binary-attributes";

/** n.b. With more than ten, SNS drops the message for every queue that gets it raw, and tells nobody. */
const mostAttributes = 10;

const own = new Set([metadataName, headersName, bodyName]);

/** What both services take in an attribute; only what neither trims nor changes on the way. */
const legalName = /^(?!aws\.|amazon\.|\.)(?!.*\.\.)(?!.*\.$)[A-Za-z0-9_.-]{1,256}$/i;
const legalValue = /^[\t\n\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]+$/u;

function fits(name: string, value: string): boolean {
  if (own.has(name) || name in Object.prototype || !legalName.test(name)) return false;
  return legalValue.test(value) && value.trim().length === value.length;
}

/**
 * Headers as at most ten attributes. A header is an attribute of its own where it can be, in its order; the others share one.
 * `from`: attributes of the message that this is a copy of; data types and binary values are kept.
 */
export function pack(headers: Headers, body: string | undefined, from: Attributes): Record<string, Attribute> {
  const metadata = emptyHeaders();
  const natives: [string, string][] = [];
  const others = emptyHeaders();
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(reservedHeaderPrefix)) metadata[name] = value;
    else if (fits(name, value)) natives.push([name, value]);
    else others[name] = value;
  }
  const binaries = binariesOf(from, headers);
  let room = mostAttributes - 1 - (body === undefined ? 0 : 1);
  const binary = binaries.splice(0, Math.max(0, room - 1));
  room -= binary.length;
  // The shared attribute takes a place itself.
  if (natives.length > room || Object.keys(others).length > 0) {
    for (const [name, value] of natives.splice(Math.max(0, room - 1))) others[name] = value;
  }
  if (binaries.length > 0) metadata[binariesName] = toText(binaries);
  const attributes: Record<string, Attribute> = { [metadataName]: text(json(metadata)) };
  if (body !== undefined) attributes[bodyName] = text(body);
  if (Object.keys(others).length > 0) attributes[headersName] = text(json(others));
  for (const [name, value] of natives) attributes[name] = { DataType: typeOf(from[name], value), StringValue: value };
  for (const [name, attribute] of binary) attributes[name] = attribute;
  return attributes;
}

/** Headers out of attributes: those of ours, and whatever else is text. Binary ones stay in the native message. */
export function unpack(attributes: Attributes): Headers {
  const headers = emptyHeaders();
  for (const [name, { StringValue }] of Object.entries(attributes)) {
    if (StringValue !== undefined && !own.has(name)) headers[name] = StringValue;
  }
  for (const name of [headersName, metadataName]) merge(headers, attributes[name]?.StringValue);
  return headers;
}

/** n.b. A foreign attribute may be called like ours: what is no object of strings is left alone. */
function merge(headers: Headers, packed: string | undefined): void {
  if (packed === undefined) return;
  for (const [name, value] of Object.entries(parse(packed))) if (typeof value === "string") headers[name] = value;
}

function parse(packed: string): object {
  try {
    const value: unknown = JSON.parse(packed);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** Bytes that count towards the limits of both services: names, types and values. */
export function sizeOf(attributes: Attributes): number {
  let bytes = 0;
  for (const [name, { DataType, StringValue, BinaryValue }] of Object.entries(attributes)) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(DataType ?? "");
    bytes += StringValue === undefined ? (BinaryValue?.byteLength ?? 0) : Buffer.byteLength(StringValue);
  }
  return bytes;
}

function text(value: string): Attribute {
  return { DataType: "String", StringValue: value };
}

/** A number stays a number where the header still has its value. */
function typeOf(original: Attribute | undefined, value: string): string {
  return original?.StringValue === value ? (original.DataType ?? "String") : "String";
}

/** n.b. JSON leaves two characters as they are that neither service takes. */
function json(value: object): string {
  return JSON.stringify(value).replace(/[\ufffe\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16)}`);
}

/** Binary attributes of the original, also those for which an earlier copy had no room. */
function binariesOf(from: Attributes, headers: Headers): [string, Attribute][] {
  const found = new Map<string, Attribute>();
  for (const [name, attribute] of Object.entries(from)) {
    if (attribute.BinaryValue !== undefined && !own.has(name)) found.set(name, attribute);
  }
  const earlier = headers[binariesName];
  if (earlier === undefined) return [...found];
  for (const [name, value] of Object.entries(parse(earlier))) {
    if (!Array.isArray(value) || typeof value[0] !== "string" || typeof value[1] !== "string") continue;
    found.set(name, { DataType: value[0], BinaryValue: Buffer.from(value[1], "base64") });
  }
  return [...found];
}

function toText(binaries: readonly [string, Attribute][]): string {
  return json(
    Object.fromEntries(
      binaries.map(([name, { DataType = "Binary", BinaryValue = new Uint8Array() }]) => [
        name,
        [DataType, Buffer.from(BinaryValue).toString("base64")],
      ]),
    ),
  );
}
