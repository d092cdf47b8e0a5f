import { emptyHeaders, type Headers, type Limits, reservedHeaderPrefix, wire } from "../driver/index.ts";
import { SluiceError } from "../errors.ts";

/** Begins the text of every error about one message: `kafka: message to "orders"`. */
export type Refuse = (code: "INVALID_MESSAGE" | "TOO_LARGE", detail: string) => SluiceError;

/** The user's headers on a copy without a prototype, with the codec's content type. */
export function firstHeaders(
  given: Readonly<Record<string, string>> | undefined,
  contentType: string,
  refuse: Refuse,
): Headers {
  const headers = emptyHeaders();
  headers[wire.contentType] = contentType;
  if (!given) return headers;
  for (const name of Object.keys(given)) {
    if (name.toLowerCase() === wire.contentType) {
      throw refuse(
        "INVALID_MESSAGE",
        `sets header "${name}"; it belongs to the topic's codec: give the topic another codec`,
      );
    }
    // A value that is not a string is found by `checkHeaders`.
    headers[name] = given[name] as string;
  }
  return headers;
}

/** Name and value of a header that core adds, at most. */
const ownBytes = 40;

/**
 * Names are printable ASCII without blanks, values strings that UTF-8 can hold: what every broker carries.
 * @returns about how many bytes they are
 * @param own how many headers core adds to these
 * @throws SluiceError `INVALID_MESSAGE`, `TOO_LARGE`
 */
export function checkHeaders(headers: Headers, own: number, limits: Limits, refuse: Refuse): number {
  let number = own;
  let length = own * ownBytes;
  for (const name in headers) {
    number++;
    const value: unknown = headers[name];
    checkName(name, limits, refuse);
    if (typeof value !== "string") {
      throw refuse("INVALID_MESSAGE", `has header "${name}" of type ${typeof value}; header values are strings`);
    }
    if (!value.isWellFormed()) {
      throw refuse("INVALID_MESSAGE", `has header "${name}" with half a surrogate pair; UTF-8 cannot hold it`);
    }
    length += name.length + value.length;
  }
  if (number > limits.headers) {
    throw refuse("INVALID_MESSAGE", `has ${number} headers, above the limit of ${limits.headers}; send fewer`);
  }
  // No UTF-16 unit takes more than three bytes of UTF-8: counting is only needed near the limit.
  if (length * 3 <= limits.headersBytes) return length;
  let bytes = own * ownBytes;
  for (const name in headers) bytes += name.length + Buffer.byteLength(headers[name] ?? "");
  if (bytes > limits.headersBytes) {
    const numbers = `${bytes} bytes, above the limit of ${limits.headersBytes}`;
    const help = "send less in headers, more in the payload";
    throw refuse("TOO_LARGE", `has headers of ${numbers}; the largest is "${largest(headers)}"; ${help}`);
  }
  return bytes;
}

function largest(headers: Headers): string {
  return Object.keys(headers).reduce(
    (most, name) => ((headers[name]?.length ?? 0) > (headers[most]?.length ?? 0) ? name : most),
    "",
  );
}

/** Names that passed, so that a name is looked at once and not per message. Bounded: users may make names up. */
const known = new Set<string>();

function checkName(name: string, limits: Limits, refuse: Refuse): void {
  if (name.length > limits.headerNameBytes) {
    const shown = `${name.slice(0, 40)}…`;
    throw refuse(
      "INVALID_MESSAGE",
      `has header name "${shown}" of ${name.length} bytes, above the limit of ${limits.headerNameBytes}; use a shorter one`,
    );
  }
  if (known.has(name)) return;
  if (!/^[\x21-\x7e]+$/.test(name)) {
    const help = "use printable ASCII characters without blanks";
    throw refuse("INVALID_MESSAGE", `has header name ${JSON.stringify(name)}; ${help}`);
  }
  if (name.toLowerCase().startsWith(reservedHeaderPrefix)) {
    throw refuse(
      "INVALID_MESSAGE",
      `has header "${name}"; names that begin with "${reservedHeaderPrefix}" are reserved`,
    );
  }
  if (known.size < 1000) known.add(name);
}
