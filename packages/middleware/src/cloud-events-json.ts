import { isUtf8 } from "node:buffer";
import type { Bytes } from "@sluice/core";
import type { CloudEventAttributes, RawAttributes } from "./cloud-events-attributes.ts";

/** What is written: as other implementations write it, and in lower case, because not all of them read anything else. */
export const structuredType = "application/cloudevents+json; charset=utf-8";

/** Order of the first members; whoever compares bytes finds them as other implementations write them. */
const firstMembers = ["id", "time", "type", "source", "specversion", "datacontenttype", "dataschema", "subject"];

/** Whether data of this type is JSON; data without a type is. */
function isJsonType(type: unknown): boolean {
  return typeof type !== "string" || /^[^;]*[/+]json\s*(;|$)/i.test(type);
}

/** Structured mode: the whole event as JSON. `body` null: an event without data. */
export function toStructured(attributes: CloudEventAttributes, body: Bytes | null): Bytes {
  const { time } = attributes;
  const event: RawAttributes = {};
  for (const name of [...firstMembers, ...Object.keys(attributes)]) event[name] = attributes[name];
  if (time !== undefined) event["time"] = inMilliseconds(time);
  return Buffer.from(JSON.stringify(Object.assign(event, dataOf(attributes, body))));
}

/** n.b. Two readers fail on a time without a fraction, or take one with an offset for another event; finer fractions stay. */
function inMilliseconds(time: string): string {
  const ms = Date.parse(time);
  return Number.isNaN(ms) || /\.\d{4,}/.test(time) ? time : new Date(ms).toISOString();
}

/** n.b. JSON goes in as JSON only where it comes out with the same bytes: large numbers would change. */
function dataOf({ datacontenttype }: CloudEventAttributes, body: Bytes | null): RawAttributes {
  if (body === null) return {};
  const buffer = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (isUtf8(buffer)) {
    const text = buffer.toString();
    if (isJsonType(datacontenttype)) {
      const data = parsed(text);
      if (data !== undefined && JSON.stringify(data) === text) return { data };
    } else if (/^text\//i.test(datacontenttype ?? "") && Buffer.byteLength(text) === body.byteLength)
      return { data: text };
  }
  return { data_base64: buffer.toString("base64") };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** An event out of its JSON, with the bytes that its data are; `null` = it has no data. */
export interface StructuredEvent {
  readonly attributes: RawAttributes;
  readonly body: Bytes | null;
}

/** @throws Error saying what is wrong with the JSON; the attributes are not looked at */
export function fromStructured(bytes: Bytes): StructuredEvent {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  const event: unknown = JSON.parse(text);
  if (typeof event !== "object" || event === null || Array.isArray(event)) throw new Error("it is no JSON object");
  const { data, data_base64: base64, ...attributes } = event as RawAttributes;
  if (data !== undefined && base64 !== undefined) throw new Error("it has data and data_base64");
  // An attribute that is null is not set.
  for (const [name, value] of Object.entries(attributes)) if (value === null) delete attributes[name];
  return { attributes, body: bodyOf(data, base64, attributes["datacontenttype"]) };
}

function bodyOf(data: unknown, base64: unknown, type: unknown): Bytes | null {
  if (typeof base64 === "string") {
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) throw new Error("data_base64 is no base64");
    return new Uint8Array(Buffer.from(base64, "base64"));
  }
  if (base64 !== undefined) throw new Error("data_base64 is no text");
  if (data === undefined) return null;
  return Buffer.from(typeof data === "string" && !isJsonType(type) ? data : JSON.stringify(data));
}
