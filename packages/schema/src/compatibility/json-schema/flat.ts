// A schema without `$ref` and `allOf`: a list of parts that all hold at once. What a union allows stays a union.
import { type Budget, isObject, type JsonObject, own } from "../budget.ts";
import type { Node } from "./document.ts";

/** `anyOf` or `oneOf`: at least one branch holds. */
export interface Sum {
  readonly keyword: "anyOf" | "oneOf";
  readonly branches: readonly Node[];
}

export interface Flat {
  /** Each an object whose plain keywords count; its `$ref`, `allOf`, `anyOf` and `oneOf` stand elsewhere. */
  readonly parts: readonly PlainNode[];
  readonly sums: readonly Sum[];
  /** References into other texts. */
  readonly external: ReadonlySet<string>;
  /** `false` is a part: no value is valid. */
  readonly impossible: boolean;
}

export interface PlainNode extends Node {
  readonly schema: JsonObject;
}

const references = ["$ref", "$dynamicRef", "$recursiveRef"];
const names = ["$schema", "$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$defs", "definitions"];
const remarks = ["$comment", "title", "description", "examples", "deprecated", "readOnly", "writeOnly"];
/**
 * Keywords that say nothing about the value by themselves, or are taken apart here. n.b. without this, two references to one
 * schema would be two schemas, and everything below them be compared twice.
 */
const silent: ReadonlySet<string> = new Set([...references, ...names, ...remarks, "allOf", "anyOf", "oneOf"]);

/** Nothing is said: every value is valid. */
export const anything: Flat = { parts: [], sums: [], external: new Set(), impossible: false };

/** A list of schemas under a keyword. */
export function nodes(holder: Node, keyword: string): readonly Node[] {
  const value = isObject(holder.schema) ? own(holder.schema, keyword) : undefined;
  return Array.isArray(value) ? value.flatMap((each) => asNode(each, holder)) : [];
}

/** The schema under a keyword. */
export function node(holder: Node, keyword: string): Node | undefined {
  return isObject(holder.schema) ? asNode(own(holder.schema, keyword), holder)[0] : undefined;
}

/** The schemas under a keyword that maps names to them. */
export function members(holder: Node, keyword: string): ReadonlyMap<string, Node> {
  const value = isObject(holder.schema) ? own(holder.schema, keyword) : undefined;
  if (!isObject(value)) return new Map();
  return new Map(
    Object.entries(value).flatMap(([name, each]) => asNode(each, holder).map((found) => [name, found] as const)),
  );
}

function asNode(value: unknown, { document }: Node): readonly Node[] {
  return isObject(value) || typeof value === "boolean" ? [{ schema: value, document }] : [];
}

function referencesOf(schema: JsonObject): readonly string[] {
  const stated = references.map((keyword) => own(schema, keyword));
  return stated.filter((each) => typeof each === "string");
}

/** The schemas that speak of the same value as this one. */
export function inPlace(holder: PlainNode): readonly Node[] {
  const { schema, document } = holder;
  const targets = referencesOf(schema).flatMap((reference) => document.resolve(reference, schema) ?? []);
  if (document.legacy && targets.length > 0) return targets;
  return [
    ...targets,
    ...["allOf", "anyOf", "oneOf"].flatMap((keyword) => nodes(holder, keyword)),
    ...["not", "if", "then", "else"].flatMap((keyword) => node(holder, keyword) ?? []),
    ...members(holder, "dependentSchemas").values(),
  ];
}

/** All that holds at once in some schemas. */
export function flatten(starts: readonly Node[], budget: Budget, base: Flat = anything): Flat {
  const parts = [...base.parts];
  const sums = [...base.sums];
  const external = new Set(base.external);
  let impossible = base.impossible;
  // n.b. a `$ref` that comes back to itself says nothing new; without this it would never end.
  const seen = new Set<unknown>(parts.map(({ schema }) => schema));
  const waiting = [...starts];
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    budget.spend();
    const { schema, document } = next;
    if (schema === false) impossible = true;
    if (!isObject(schema) || seen.has(schema)) continue;
    seen.add(schema);
    const found = referencesOf(schema);
    for (const reference of found) {
      const target = document.resolve(reference, schema);
      if (target === undefined) external.add(reference);
      else waiting.push(target);
    }
    if (document.legacy && found.length > 0) continue;
    if (!Object.keys(schema).every((keyword) => silent.has(keyword))) parts.push({ schema, document });
    waiting.push(...nodes(next, "allOf"));
    for (const keyword of ["anyOf", "oneOf"] as const) {
      const branches = nodes(next, keyword);
      if (branches.length > 0) sums.push({ keyword, branches });
    }
  }
  return { parts, sums, external, impossible };
}

/** Small numbers for schemas, so that pairs of them have a name. */
export class Identities {
  readonly #known: Map<JsonObject, number> = new Map();

  of({ schema }: Node): string {
    if (typeof schema === "boolean") return String(schema);
    const known = this.#known.get(schema) ?? this.#known.size;
    this.#known.set(schema, known);
    return String(known);
  }

  ofFlat({ parts, sums, external, impossible }: Flat): string {
    if (impossible) return "false";
    const plain = parts.map((each) => this.of(each)).toSorted();
    // n.b. a union of one branch is not that branch: the one is asked while the other is under way.
    const unions = sums
      .map(({ keyword, branches }) => `${keyword}(${branches.map((each) => this.of(each)).join("|")})`)
      .toSorted();
    return [...plain, ...unions, ...[...external].map((each) => JSON.stringify(each))].join(",");
  }
}
