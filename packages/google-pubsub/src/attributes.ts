import { DriverError, emptyHeaders, type Headers } from "@sluice/core/driver";

export type Attributes = Record<string, string>;

/** The service's limits; an emulator does not know them. */
const longestName = 256;
const longestValue = 1_024;
const mostAttributes = 100;

/** What a native dead letter is given on its way, and what the client library's tracing adds. */
const keptFree = 6;

/** Headers that do not fit an attribute, as JSON in ASCII, cut into pieces of the longest value: `sluice-packed-0`, `-1`, … */
const packedName = "sluice-packed-";

/** Written by the service or the client library: never headers of the message. */
const nativeName = /^(goog|CloudPubSub)/;

/** Whether a header can be an attribute as it is. */
export function isAttribute(name: string, value: string): boolean {
  return (
    name !== "" &&
    name !== "__proto__" &&
    !nativeName.test(name) &&
    !name.startsWith(packedName) &&
    Buffer.byteLength(name) <= longestName &&
    Buffer.byteLength(value) <= longestValue &&
    name.isWellFormed() &&
    value.isWellFormed()
  );
}

/**
 * Headers and the driver's own fields as attributes. As many as fit are attributes of their own, so that foreign readers and filters
 * see them; the rest is packed. @throws DriverError TOO_LARGE
 */
export function toAttributes(headers: Headers, own: Readonly<Attributes>): Attributes {
  const attributes: Attributes = Object.assign(emptyHeaders(), own);
  const rest: [name: string, value: string][] = [];
  const room = mostAttributes - keptFree - Object.keys(own).length;
  const names = Object.keys(headers);
  const plain = names.filter((name) => isAttribute(name, headers[name] ?? ""));
  // Either all of them fit, or some room is needed for the pieces.
  const most = plain.length === names.length && names.length <= room ? room : Math.floor(room / 3);
  const separate = new Set(plain.slice(0, most));
  for (const name of names) {
    const value = headers[name];
    if (value === undefined) continue;
    if (separate.has(name)) attributes[name] = value;
    else rest.push([name, value]);
  }
  if (rest.length > 0) pack(rest, attributes);
  return attributes;
}

function pack(rest: readonly (readonly [string, string])[], attributes: Attributes): void {
  const text = JSON.stringify(rest).replaceAll(/[\u007f-\uffff]/g, escaped);
  const pieces = Math.ceil(text.length / longestValue);
  const room = mostAttributes - keptFree - Object.keys(attributes).length;
  if (pieces > room) {
    throw new DriverError(
      "TOO_LARGE",
      `google-pubsub: headers that do not fit an attribute have ${text.length} bytes, and ${room * longestValue} is the limit; shorten them`,
    );
  }
  for (let piece = 0; piece < pieces; piece++) {
    attributes[`${packedName}${piece}`] = text.slice(piece * longestValue, (piece + 1) * longestValue);
  }
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Attributes as headers, without what `skip` names. */
export function fromAttributes(attributes: Readonly<Attributes>, skip: (name: string) => boolean): Headers {
  const headers = emptyHeaders();
  const pieces: string[] = [];
  for (const name of Object.keys(attributes)) {
    const value = attributes[name];
    if (value === undefined || skip(name) || nativeName.test(name)) continue;
    const piece = name.startsWith(packedName) ? Number(name.slice(packedName.length)) : undefined;
    if (piece === undefined || !Number.isInteger(piece)) headers[name] = value;
    else pieces[piece] = value;
  }
  for (const [name, value] of unpack(pieces.join(""))) headers[name] = value;
  return headers;
}

function unpack(text: string): readonly (readonly [string, string])[] {
  if (text === "") return [];
  try {
    const pairs: unknown = JSON.parse(text);
    return Array.isArray(pairs) ? pairs.filter(isPair) : [];
  } catch {
    // A foreign attribute of that name.
    return [];
  }
}

function isPair(pair: unknown): pair is readonly [string, string] {
  return Array.isArray(pair) && typeof pair[0] === "string" && typeof pair[1] === "string";
}
