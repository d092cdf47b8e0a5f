// Strings and numbers: the writer's tightest limits against one part of the reader.
import { type JsonObject, own, show } from "../budget.ts";
import { type Flat, type PlainNode } from "./flat.ts";
import { matches } from "./pattern.ts";

type Report = (keyword: string, reason: string) => void;

/** A bound and whether it belongs to what it bounds. */
interface Bound {
  readonly at: number;
  readonly open: boolean;
}

function number(schema: JsonObject, keyword: string): number | undefined {
  const value = own(schema, keyword);
  return typeof value === "number" ? value : undefined;
}

/** The largest of the writer's minimums under a keyword, or the smallest of its maximums. */
export function tightest({ parts }: Flat, keyword: string): number | undefined {
  const stated = parts.map(({ schema }) => number(schema, keyword)).filter((each) => each !== undefined);
  if (stated.length === 0) return undefined;
  return keyword.startsWith("min") ? Math.max(...stated) : Math.min(...stated);
}

/** A count that may only get wider: `minLength`, `maxItems` and their like. */
export function compareCount(part: PlainNode, keyword: string, written: number | undefined, report: Report): void {
  const read = number(part.schema, keyword);
  if (read === undefined || (keyword.startsWith("min") && read <= 0)) return;
  if (written === undefined) return report(keyword, `${keyword} ${read} was added`);
  const narrower = keyword.startsWith("min") ? read > written : read < written;
  if (narrower) report(keyword, `${keyword} went from ${written} to ${read}`);
}

export function compareString(
  part: PlainNode,
  writer: Flat,
  list: readonly unknown[] | undefined,
  report: Report,
): void {
  const texts = list?.filter((each) => typeof each === "string");
  // Length counts characters, not UTF-16 units.
  const lengths = texts?.map((each) => Array.from(each).length);
  compareCount(part, "minLength", lengths === undefined ? tightest(writer, "minLength") : Math.min(...lengths), report);
  compareCount(part, "maxLength", lengths === undefined ? tightest(writer, "maxLength") : Math.max(...lengths), report);
  const pattern = own(part.schema, "pattern");
  if (typeof pattern === "string" && !writer.parts.some(({ schema }) => own(schema, "pattern") === pattern)) {
    const unmatched = texts === undefined ? undefined : texts.find((each) => matches(pattern, each) !== true);
    if (texts === undefined) report("pattern", `the pattern ${show(pattern)} was added or changed`);
    else if (unmatched !== undefined) report("pattern", `the pattern ${show(pattern)} refuses ${show(unmatched)}`);
  }
  const format = own(part.schema, "format");
  if (typeof format === "string" && !writer.parts.some(({ schema }) => own(schema, "format") === format)) {
    report("format", `the format ${show(format)} was added or changed`);
  }
}

export function compareNumber(
  part: PlainNode,
  writer: Flat,
  list: readonly unknown[] | undefined,
  report: Report,
): void {
  const numbers = list?.filter((each) => typeof each === "number");
  for (const side of ["minimum", "maximum"] as const) {
    const read = bound(part.schema, side);
    if (read === undefined) continue;
    const written = numbers === undefined ? bounds(writer, side) : { at: edge(side, numbers), open: false };
    if (written === undefined) report(read.open ? exclusive(side) : side, `the ${side} ${read.at} was added`);
    else if (narrower(side, read, written)) {
      report(read.open ? exclusive(side) : side, `the ${side} went from ${text(written)} to ${text(read)}`);
    }
  }
  const multiple = number(part.schema, "multipleOf");
  if (multiple === undefined || multiple <= 0) return;
  const covered =
    numbers?.every((each) => isMultiple(each, multiple)) ??
    writer.parts.some(({ schema }) => isMultiple(number(schema, "multipleOf"), multiple));
  if (!covered) report("multipleOf", `multipleOf ${multiple} was added or changed`);
}

const exclusive = (side: "minimum" | "maximum") => (side === "minimum" ? "exclusiveMinimum" : "exclusiveMaximum");
const edge = (side: "minimum" | "maximum", all: readonly number[]) =>
  side === "minimum" ? Math.min(...all) : Math.max(...all);
const text = ({ at, open }: Bound) => (open ? `${at} (exclusive)` : String(at));

function isMultiple(value: number | undefined, of: number): boolean {
  if (value === undefined) return false;
  const quotient = value / of;
  // Decimal fractions such as 0.3 and 0.1 have no exact quotient.
  return Math.abs(quotient - Math.round(quotient)) < 1e-9;
}

function narrower(side: "minimum" | "maximum", read: Bound, written: Bound): boolean {
  if (read.at === written.at) return read.open && !written.open;
  return side === "minimum" ? read.at > written.at : read.at < written.at;
}

function bound(schema: JsonObject, side: "minimum" | "maximum"): Bound | undefined {
  const closed = number(schema, side);
  const open = own(schema, exclusive(side));
  // n.b. draft 4 says `exclusiveMinimum: true` beside the minimum; later drafts give it a number of its own.
  if (typeof open !== "number") return closed === undefined ? undefined : { at: closed, open: open === true };
  if (closed === undefined) return { at: open, open: true };
  const openIsTighter = side === "minimum" ? open >= closed : open <= closed;
  return openIsTighter ? { at: open, open: true } : { at: closed, open: false };
}

function bounds({ parts }: Flat, side: "minimum" | "maximum"): Bound | undefined {
  const all = parts.map(({ schema }) => bound(schema, side)).filter((each) => each !== undefined);
  return all.reduce<Bound | undefined>(
    (best, each) => (best === undefined || narrower(side, each, best) ? each : best),
    undefined,
  );
}
