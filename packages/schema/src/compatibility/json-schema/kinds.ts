// What kinds of values, and which values, some parts allow together.
import { isDeepStrictEqual } from "node:util";
import { own } from "../budget.ts";
import type { Flat, PlainNode } from "./flat.ts";

/** A number is either of two: so `integer` within `number` is a subset, like all the others. */
export type Kind = "null" | "boolean" | "object" | "array" | "string" | "integer" | "fraction";

const allKinds: readonly Kind[] = ["null", "boolean", "object", "array", "string", "integer", "fraction"];
const ofType: Readonly<Record<string, readonly Kind[]>> = {
  null: ["null"],
  boolean: ["boolean"],
  object: ["object"],
  array: ["array"],
  string: ["string"],
  integer: ["integer"],
  number: ["integer", "fraction"],
};

/** The kinds that one part allows. */
export function kindsOf(part: PlainNode): ReadonlySet<Kind> {
  const type = own(part.schema, "type");
  if (type === undefined) return new Set(allKinds);
  const types: readonly unknown[] = Array.isArray(type) ? type : [type];
  return new Set(types.flatMap((each) => (typeof each === "string" ? (ofType[each] ?? []) : [])));
}

export function kindOf(value: unknown): Kind {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "fraction";
  return typeof value as "boolean" | "object" | "string";
}

/** For people: `integer` and `fraction` together are a number. */
export function kindNames(kinds: Iterable<Kind>): string {
  const names = new Set<string>(kinds);
  if (names.delete("fraction")) names.add("number").delete("integer");
  return [...names].join(", ");
}

/** The kinds that all parts allow. */
export function kinds({ parts }: Flat): ReadonlySet<Kind> {
  return new Set(allKinds.filter((kind) => parts.every((part) => kindsOf(part).has(kind))));
}

/** The values of `enum` and `const`, undefined without them. */
export function valuesOf(part: PlainNode): readonly unknown[] | undefined {
  if (Object.hasOwn(part.schema, "const")) return [part.schema["const"]];
  const values = own(part.schema, "enum");
  return Array.isArray(values) ? values : undefined;
}

/** The values that are possible at all, where they are a list. */
export function values(flat: Flat): readonly unknown[] | undefined {
  const allowed = kinds(flat);
  const lists = flat.parts.map(valuesOf).filter((each) => each !== undefined);
  const [first, ...rest] = lists;
  if (first === undefined) {
    const few = [...allowed].every((kind) => kind === "null" || kind === "boolean");
    return few ? [...(allowed.has("null") ? [null] : []), ...(allowed.has("boolean") ? [true, false] : [])] : undefined;
  }
  return first.filter((value) => allowed.has(kindOf(value)) && rest.every((list) => contains(list, value)));
}

export function contains(list: readonly unknown[], value: unknown): boolean {
  return list.some((each) => isDeepStrictEqual(each, value));
}
