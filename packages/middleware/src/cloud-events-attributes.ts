import type { Issue } from "@sluice/core";

/** Values that attributes have in JSON. In headers all of them are text, in their canonical form. */
export type CloudEventValue = string | number | boolean;

/** What CloudEvents 1.0 says of an event besides its data. Other names are extensions. */
export interface CloudEventAttributes {
  readonly specversion: "1.0";
  /** Unique per `source`: an event with the same two is the same event again. */
  readonly id: string;
  /** Who says so: a URI-reference. */
  readonly source: string;
  readonly type: string;
  /** RFC 3339. */
  readonly time?: string;
  readonly datacontenttype?: string;
  /** An absolute URI. */
  readonly dataschema?: string;
  readonly subject?: string;
  readonly [extension: string]: CloudEventValue | undefined;
}

/** Attributes before anybody looked at them. */
export type RawAttributes = Record<string, unknown>;

const required = ["specversion", "id", "source", "type"] as const;

// n.b. Control characters, halves of characters and non-characters: the specification's type String excludes them.
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const illegalText = /[\u0000-\u001f\u007f-\u009f\ufdd0-\ufdef\ufffe\uffff]/u;
const uriReference = /^(?:[\w\-.~:/?#[\]@!$&'()*+,;=]|%[0-9a-f]{2})+$/i;
const scheme = /^[a-z][a-z0-9+.-]*:/i;
const mediaType = /^[\w!#$&^.+'*`|~%-]+\/[\w!#$&^.+'*`|~%-]+\s*(?:;.*)?$/;
const timestamp =
  /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/i;

/** Says what is wrong with a value, or nothing. */
type Rule = (value: unknown) => string | undefined;

const text: Rule = (value) => {
  if (typeof value !== "string" || value === "") return "is not a text of at least one character";
  return isLegalText(value) ? undefined : "has control characters or half a character";
};

const matching = (pattern: RegExp, otherwise: string): Rule => {
  return (value) => text(value) ?? (pattern.test(String(value)) ? undefined : otherwise);
};

const rules: Readonly<Record<string, Rule>> = {
  specversion: (value) => (value === "1.0" ? undefined : `is not "1.0"`),
  id: text,
  source: matching(uriReference, "is no URI-reference (RFC 3986)"),
  type: text,
  subject: text,
  time: matching(timestamp, "is no time of RFC 3339"),
  datacontenttype: matching(mediaType, "is no media type (RFC 2046)"),
  dataschema: (value) =>
    matching(uriReference, "is no URI")(value) ?? (scheme.test(String(value)) ? undefined : "is no absolute URI"),
};

/** Whether a text may be the value of an attribute. */
export function isLegalText(value: string): boolean {
  return value.isWellFormed() && !illegalText.test(value);
}

/** Lower-case letters and digits. n.b. `data` is the payload's member, never an attribute. */
export function isAttributeName(name: string): boolean {
  return /^[a-z0-9]+$/.test(name) && name !== "data";
}

/** Every rule of CloudEvents 1.0 that the attributes break; the path is the attribute's name. */
export function issuesOf(attributes: RawAttributes): readonly Issue[] {
  const missing = required
    .filter((name) => attributes[name] === undefined)
    .map((path): Issue => ({ path, message: "is missing" }));
  const wrong = Object.entries(attributes).flatMap(([path, value]): readonly Issue[] => {
    if (value === undefined) return [];
    const message = Object.hasOwn(rules, path) ? rules[path]?.(value) : extension(path, value);
    return message === undefined ? [] : [{ path, message }];
  });
  return [...missing, ...wrong];
}

function extension(name: string, value: unknown): string | undefined {
  if (!isAttributeName(name)) return "has a name that is not lower-case letters and digits";
  if (typeof value === "boolean") return undefined;
  if (typeof value === "string") return isLegalText(value) ? undefined : "has control characters or half a character";
  const fits = typeof value === "number" && Number.isInteger(value) && Math.abs(value + 0.5) < 2 ** 31;
  return fits ? undefined : "is neither text nor a boolean nor an integer of 32 bits";
}

/** The attributes, which are known to be legal. */
export function checked(attributes: RawAttributes, refuse: (issues: readonly Issue[]) => Error): CloudEventAttributes {
  const issues = issuesOf(attributes);
  if (issues.length > 0) throw refuse(issues);
  // `issuesOf` has looked at each member.
  return attributes as unknown as CloudEventAttributes;
}

/** Issues in one line. */
export function sentence(issues: readonly Issue[]): string {
  return issues.map(({ path, message }) => `${path} ${message}`).join(", ");
}
