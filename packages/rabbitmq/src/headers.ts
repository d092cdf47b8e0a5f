import { DriverError, emptyHeaders, type Headers } from "@sluice/core/driver";

/** What amqplib can put into a header table and read back: everything else is refused before the wire. */
type HeaderValue =
  | string
  | number
  | boolean
  | null
  | Buffer
  | readonly HeaderValue[]
  | { readonly [name: string]: HeaderValue };

export type HeaderTable = Record<string, HeaderValue>;

/** Written or interpreted by the broker: never ours to send, never shown as headers of the message. */
const brokerHeader =
  /^(CC|BCC|x-death|x-(first|last)-death-.*|x-delivery-count|x-acquired-count|x-delayed-.*|x-opt-.*)$/;

function isBrokerHeader(name: string): boolean {
  return brokerHeader.test(name);
}

/**
 * n.b. amqplib reads a table into an ordinary object, where a member called `__proto__` vanishes. This one carries its value.
 */
const protoCarrier = "sluice-header-proto";

/** amqplib encodes a table into 64 KiB; properties and method need some of it. */
const longestTable = 63 * 1024;

/**
 * Adds a user's headers to a table, all but `skip`. What is there already stays: a copied value keeps its type for foreign readers.
 * @throws DriverError INVALID_MESSAGE | TOO_LARGE
 */
export function toTable(headers: Headers, table: HeaderTable = Object.create(null), skip?: string): HeaderTable {
  for (const name of Object.keys(headers)) {
    const value: unknown = headers[name];
    if (value === undefined || name === skip) continue;
    if (isBrokerHeader(name)) throw refused(name, "is the broker's own", "rename it");
    const checked = checkedValue(name, value, 0);
    if (!(name in table)) table[name] = checked;
    if (name === "__proto__") table[protoCarrier] ??= checked;
  }
  return table;
}

/** Strings, numbers and booleans of a table as strings. What strings cannot hold stays in the native message. */
export function fromTable(
  table: Readonly<Record<string, unknown>> | undefined,
  skip: (name: string) => boolean,
): Headers {
  const headers = emptyHeaders();
  if (!table) return headers;
  for (const name of Object.keys(table)) {
    if (name === protoCarrier || isBrokerHeader(name) || skip(name)) continue;
    const text = asText(table[name]);
    if (text !== undefined) headers[name] = text;
  }
  const proto = table[protoCarrier];
  if (typeof proto === "string") headers["__proto__"] = proto;
  return headers;
}

/** What a copy takes over from a received table: values that are not in `headers`, and the types of those that are. */
export function carried(
  table: Readonly<Record<string, unknown>> | undefined,
  headers: Headers,
  skip: (name: string) => boolean,
): HeaderTable {
  const copied: HeaderTable = Object.create(null);
  for (const name of Object.keys(table ?? {})) {
    if (name === protoCarrier || isBrokerHeader(name) || skip(name)) continue;
    const value: unknown = table?.[name];
    const text = asText(value);
    // A header that core took away or changed stays so.
    if (text !== undefined && headers[name] !== text) continue;
    if (isHeaderValue(value, 0)) copied[name] = value;
  }
  return copied;
}

/** Of the last moment that a Date can be. */
const longestSeconds = 8_640_000_000_000;

function asText(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "object" && value !== null && isTimestamp(value)) {
    // A foreign producer's native time. Its copies stay native: `carried` compares this text.
    return value.value > longestSeconds ? undefined : new Date(value.value * 1_000).toISOString();
  }
  return typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value))
    ? String(value)
    : undefined;
}

const deepest = 16;

/**
 * The value when the wire can carry it exactly. n.b. without this, Infinity closes the whole connection, a Date or a Map arrives as
 * `{}`, and an object with a member `!` is taken for a type directive.
 */
function checkedValue(name: string, value: unknown, depth: number): HeaderValue {
  if (Buffer.byteLength(name) > 255)
    throw refused(`${name.slice(0, 40)}…`, "has a name of more than 255 bytes", "shorten it");
  if (!name.isWellFormed()) throw refused(name, "has a name that is not well-formed text", "rename it");
  if (!isHeaderValue(value, depth)) {
    throw refused(name, `cannot be carried (${describe(value)})`, "use text");
  }
  return value;
}

function isHeaderValue(value: unknown, depth: number): value is HeaderValue {
  if (depth > deepest) return false;
  if (typeof value === "string") return value.isWellFormed();
  if (typeof value === "number") return Number.isFinite(value) && value >= -(2 ** 63);
  if (value === null || typeof value === "boolean" || Buffer.isBuffer(value)) return true;
  if (Array.isArray(value)) return value.every((item) => isHeaderValue(item, depth + 1));
  return typeof value === "object" && isTable(value, depth);
}

function isTable(value: object, depth: number): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return false;
  if (isDirective(value)) return true;
  return Object.entries(value).every(
    ([name, item]) =>
      name !== "!" && Buffer.byteLength(name) <= 255 && name.isWellFormed() && isHeaderValue(item, depth + 1),
  );
}

function isTimestamp(value: object): value is { readonly "!": "timestamp"; readonly value: number } {
  if (!("!" in value) || value["!"] !== "timestamp" || !("value" in value)) return false;
  return isCount(value.value, Number.MAX_SAFE_INTEGER);
}

/** The two directives that amqplib itself makes when it reads: they may go back as they came. */
function isDirective(value: object): boolean {
  if (!("!" in value) || !("value" in value)) return false;
  if (isTimestamp(value)) return true;
  const { value: inner } = value;
  if (value["!"] !== "decimal" || typeof inner !== "object" || inner === null) return false;
  return "places" in inner && "digits" in inner && isCount(inner.places, 255) && isCount(inner.digits, 0xff_ff_ff_ff);
}

function isCount(value: unknown, most: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most;
}

function describe(value: unknown): string {
  if (typeof value === "string") return "text with half a character";
  if (typeof value === "number") return String(value);
  if (typeof value !== "object" || value === null) return typeof value;
  return value.constructor?.name ?? "object";
}

/** Bytes of a table on the wire. @throws DriverError TOO_LARGE */
export function checkSize(table: HeaderTable, longest: number): void {
  const bytes = tableBytes(table);
  const most = Math.min(longest, longestTable);
  if (bytes <= most) return;
  throw new DriverError(
    "TOO_LARGE",
    `rabbitmq: the headers have ${bytes} bytes on the wire, and ${most} is the limit; shorten them`,
  );
}

function tableBytes(table: { readonly [name: string]: HeaderValue }): number {
  let bytes = 4;
  for (const name of Object.keys(table)) {
    const value = table[name];
    if (value !== undefined) bytes += 1 + Buffer.byteLength(name) + valueBytes(value);
  }
  return bytes;
}

function valueBytes(value: HeaderValue): number {
  if (typeof value === "string") return 5 + Buffer.byteLength(value);
  if (value === null) return 1;
  if (typeof value === "boolean") return 2;
  if (typeof value === "number") return 9;
  if (Buffer.isBuffer(value)) return 5 + value.length;
  if (isList(value)) return value.reduce<number>((bytes, item) => bytes + valueBytes(item), 5);
  return 1 + tableBytes(value);
}

function isList(value: HeaderValue): value is readonly HeaderValue[] {
  return Array.isArray(value);
}

function refused(name: string, what: string, todo: string): DriverError {
  return new DriverError("INVALID_MESSAGE", `rabbitmq: header "${name}" ${what}; ${todo}`);
}
