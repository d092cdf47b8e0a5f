import type { WireMessage } from "@sluice/core";
import { type CloudEventAttributes, isAttributeName, type RawAttributes } from "./cloud-events-attributes.ts";

type Headers = WireMessage["headers"];

const contentType = "content-type";
/** Every prefix that some binding writes. AMQP's two forms differ in a character that JMS does not allow in names. */
const prefixed = /^(ce_|ce-|cloudevents_|cloudevents:)(.+)$/i;
const required = ["specversion", "id", "source", "type"];

/** A header that carries an attribute. */
interface Found {
  /** As it is written. */
  readonly header: string;
  /** In lower case. */
  readonly prefix: string;
  readonly attribute: string;
}

function attributeHeaders(headers: Headers): readonly Found[] {
  const found: Found[] = [];
  for (const header in headers) {
    // Nearly every other header is out after one character.
    if (header[0] !== "c" && header[0] !== "C") continue;
    const [, prefix, name] = prefixed.exec(header) ?? [];
    const attribute = name?.toLowerCase() ?? "";
    if (prefix !== undefined && isAttributeName(attribute))
      found.push({ header, prefix: prefix.toLowerCase(), attribute });
  }
  return found;
}

/**
 * The event in a message's headers; `undefined` without the four required attributes under one prefix, or when it is of another
 * version. n.b. Prefixes are never mixed: a bridge may have left the headers of an earlier binding.
 */
export function fromHeaders(headers: Headers): RawAttributes | undefined {
  const byPrefix = Map.groupBy(attributeHeaders(headers), ({ prefix }) => prefix);
  for (const found of byPrefix.values()) {
    const attributes: RawAttributes = {};
    for (const { header, attribute } of found) attributes[attribute] = headers[header];
    if (attributes["specversion"] !== "1.0" || !required.every((name) => attributes[name] !== undefined)) continue;
    const type = contentTypeOf(headers) ?? attributes["datacontenttype"];
    return type === undefined ? attributes : { ...attributes, datacontenttype: type };
  }
  return undefined;
}

/** Attributes that the publisher set as headers, under whatever prefix; they are taken off. */
export function takeFromHeaders(headers: Headers): RawAttributes {
  const attributes: RawAttributes = {};
  for (const { header, attribute } of attributeHeaders(headers)) {
    attributes[attribute] = headers[header];
    delete headers[header];
  }
  return attributes;
}

/** Binary mode: an attribute is a header. `content-type` says `datacontenttype`; some bindings want it twice. */
export function toHeaders(attributes: CloudEventAttributes, headers: Headers, prefix: string, twice: boolean): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && (twice || name !== "datacontenttype")) headers[prefix + name] = String(value);
  }
}

/** n.b. Some clients write `Content-Type`. */
export function contentTypeOf(headers: Headers): string | undefined {
  if (headers[contentType] !== undefined) return headers[contentType];
  const name = Object.keys(headers).find((each) => each.toLowerCase() === contentType);
  return name === undefined ? undefined : headers[name];
}
