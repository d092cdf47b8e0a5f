import { DriverError, type Filter, type Headers } from "@sluice/core/driver";
import { isAttribute } from "./attributes.ts";

/** Pub/Sub's own limit for a filter's text. */
const longestFilter = 256;

/**
 * A filter in the language of subscriptions. `undefined`: it cannot be said there (too long, or a header that does not fit an
 * attribute), so that only we filter.
 */
export function toExpression(filter: Filter | undefined): string | undefined {
  if (!filter) return undefined;
  const parts: string[] = [];
  for (const [name, wanted] of Object.entries(filter)) {
    const values = typeof wanted === "string" ? [wanted] : "prefix" in wanted ? [] : wanted;
    const alternatives = [
      ...values.map((value) => `attributes.${quoted(name)} = ${quoted(value)}`),
      ...(typeof wanted === "object" && "prefix" in wanted
        ? [`hasPrefix(attributes.${quoted(name)}, ${quoted(wanted.prefix)})`]
        : []),
    ];
    if (!isAttribute(name, "") || alternatives.length === 0) return undefined;
    parts.push(alternatives.length === 1 ? String(alternatives[0]) : `(${alternatives.join(" OR ")})`);
  }
  const expression = parts.join(" AND ");
  return Buffer.byteLength(expression) <= longestFilter ? expression : undefined;
}

/** Whether a record passes. Asked on every delivery: an emulator keeps filters and does not apply them. */
export function matches(filter: Filter | undefined, headers: Headers): boolean {
  if (!filter) return true;
  for (const name of Object.keys(filter)) {
    const wanted = filter[name];
    const value = headers[name];
    if (wanted === undefined || value === undefined) return false;
    if (typeof wanted === "string" ? value !== wanted : !fits(wanted, value)) return false;
  }
  return true;
}

function fits(wanted: readonly string[] | { readonly prefix: string }, value: string): boolean {
  return "prefix" in wanted ? value.startsWith(wanted.prefix) : wanted.includes(value);
}

function quoted(text: string): string {
  if (!text.isWellFormed())
    throw new DriverError("CONFIG", `google-pubsub: the filter has text that is not well-formed`);
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}
