// Objects: name by name, then the names that neither side lists. The "content model" says what holds for those: open (all is
// allowed), closed (nothing is), or partially open (a schema).
import { isObject, own, show } from "../budget.ts";
import { type Check, mustBeKept, type Pair, sameWords } from "./check.ts";
import { escape, type Node } from "./document.ts";
import { anything, flatten, type Flat, members, node, type PlainNode } from "./flat.ts";
import { disjoint, matches } from "./pattern.ts";
import { compareCount, tightest } from "./scalars.ts";

export function compareObject(check: Check, pair: Pair): void {
  const { part, writer, path } = pair;
  const written = model(writer, check);
  const read = modelOf(part, evaluatedBy(pair, check));
  const names = new Set([...read.properties.keys(), ...written.flatMap(({ properties }) => [...properties.keys()])]);
  check.budget.spend(names.size * (1 + written.length));
  for (const name of names) compareProperty(check, pair, read, written, name);
  compareRest(check, read, written, path);
  compareRequired(check, pair, read, written);
  const report = (keyword: string, reason: string) => check.report(`${path}/${keyword}`, reason);
  const least = Math.max(tightest(writer, "minProperties") ?? 0, required(writer).size);
  compareCount(part, "minProperties", least, report);
  compareCount(part, "maxProperties", tightest(writer, "maxProperties"), report);
  compareNames(check, pair);
  compareDependencies(check, pair);
}

/** What one part says about properties. */
interface Model {
  readonly properties: ReadonlyMap<string, Node>;
  readonly patterns: ReadonlyMap<string, Node>;
  /** For names that no other member speaks of; undefined = open. */
  readonly rest: Node | undefined;
  /** Names that other parts speak of, where `rest` is for those that none does. */
  readonly elsewhere: Elsewhere | undefined;
}

interface Elsewhere {
  readonly names: ReadonlySet<string>;
  readonly patterns: readonly string[];
  readonly open: boolean;
}

function modelOf(part: PlainNode, evaluated: Elsewhere): Model {
  const additional = node(part, "additionalProperties");
  return {
    properties: members(part, "properties"),
    patterns: members(part, "patternProperties"),
    rest: additional ?? node(part, "unevaluatedProperties"),
    elsewhere: additional === undefined ? evaluated : undefined,
  };
}

function evaluated(parts: readonly PlainNode[]): Elsewhere {
  return {
    names: new Set(parts.flatMap((part) => [...members(part, "properties").keys()])),
    patterns: parts.flatMap((part) => [...members(part, "patternProperties").keys()]),
    open: parts.some((part) => own(part.schema, "additionalProperties") !== undefined),
  };
}

/** n.b. the branches of a union evaluate names too; which branch it is does not matter here, the union compares it itself. */
function evaluatedBy({ part, reader }: Pair, check: Check): Elsewhere {
  if (own(part.schema, "unevaluatedProperties") === undefined) return evaluated([]);
  const conditions = reader.parts.flatMap((each) => ["then", "else"].flatMap((keyword) => node(each, keyword) ?? []));
  const branches = [...reader.sums.flatMap((sum) => sum.branches), ...conditions];
  return evaluated([...reader.parts, ...branches.flatMap((branch) => flatten([branch], check.budget).parts)]);
}

function model(writer: Flat, check: Check): readonly Model[] {
  check.budget.spend(writer.parts.length);
  const all = evaluated(writer.parts);
  return writer.parts.map((part) => modelOf(part, all));
}

/** What a part says about one name: nothing where it is open. */
function constraints({ properties, patterns, rest, elsewhere }: Model, name: string): readonly Node[] {
  const found = [
    properties.get(name),
    ...[...patterns].map(([pattern, each]) => (matches(pattern, name) === true ? each : undefined)),
  ];
  const stated = found.filter((each) => each !== undefined);
  if (stated.length > 0 || rest === undefined) return stated;
  const known =
    elsewhere !== undefined &&
    (elsewhere.open ||
      elsewhere.names.has(name) ||
      elsewhere.patterns.some((pattern) => matches(pattern, name) === true));
  return known ? [] : [rest];
}

function compareProperty(check: Check, pair: Pair, read: Model, written: readonly Model[], name: string): void {
  // Trying a pattern costs more than other steps do.
  const tried = [read, ...written].flatMap(({ patterns, elsewhere }) => [
    patterns.size,
    elsewhere?.patterns.length ?? 0,
  ]);
  check.budget.spend(7 + 20 * tried.reduce((sum, each) => sum + each, 0));
  const place = `${pair.path}/properties/${escape(name)}`;
  const before = written.flatMap((each) => constraints(each, name));
  const old = flatten(before, check.budget);
  const wasListed = written.some(({ properties }) => properties.has(name));
  const isListed = read.properties.has(name);
  for (const schema of constraints(read, name)) {
    if (wasListed && isListed) check.includes(schema, old, place);
    // n.b. lenient: what comes and goes is free, as long as no name changes its schema.
    else if (check.lenient || old.impossible || check.accepts(schema, old)) continue;
    else if (wasListed && schema.schema === false)
      check.report(place, `the property ${show(name)} is gone, and no other is allowed`);
    else if (before.length === 0)
      check.report(place, `the property ${show(name)} came to an open content model, where it may have been anything`);
    else check.includes(schema, old, place);
  }
  for (const pattern of read.patterns.keys()) {
    if (matches(pattern, name) !== undefined || written.some(({ patterns }) => patterns.has(pattern))) continue;
    check.report(place, `the pattern ${show(pattern)} is too complex to be tried on ${show(name)}`);
  }
}

/** The names that nobody lists: by pattern, and all others. */
function compareRest(check: Check, read: Model, written: readonly Model[], path: string): void {
  if (check.lenient) return;
  const others = written.flatMap(({ rest }) => rest ?? []);
  const old = flatten(others, check.budget);
  for (const [pattern, schema] of read.patterns) {
    const place = `${path}/patternProperties/${escape(pattern)}`;
    const same = written.flatMap(({ patterns }) => patterns.get(pattern) ?? []);
    if (same.length > 0) check.includes(schema, flatten([...same], check.budget), place);
    else check.includes(schema, old, place);
    for (const [other, overlapping] of written.flatMap(({ patterns }) => [...patterns])) {
      if (other !== pattern && same.length === 0 && !disjoint(pattern, other)) {
        check.includes(schema, flatten([overlapping], check.budget), place);
      }
    }
  }
  if (read.rest === undefined) return;
  const keyword = read.elsewhere === undefined ? "additionalProperties" : "unevaluatedProperties";
  for (const [pattern, schema] of written.flatMap(({ patterns }) => [...patterns])) {
    if (read.patterns.has(pattern) || read.elsewhere?.patterns.includes(pattern)) continue;
    check.includes(read.rest, flatten([schema], check.budget), `${path}/patternProperties/${escape(pattern)}`);
  }
  if (old.impossible || (read.elsewhere?.open ?? false)) return;
  if (others.length === 0 && !check.accepts(read.rest, anything)) {
    check.report(`${path}/${keyword}`, "the open content model was closed or narrowed");
  } else check.includes(read.rest, old, `${path}/${keyword}`);
}

function required({ parts }: Flat): ReadonlySet<string> {
  return new Set(parts.flatMap(({ schema }) => strings(own(schema, "required"))));
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

function compareRequired(
  check: Check,
  { part, reader, writer, path }: Pair,
  read: Model,
  written: readonly Model[],
): void {
  const before = required(writer);
  for (const name of strings(own(part.schema, "required"))) {
    if (before.has(name)) continue;
    const schemas = [read.properties.get(name), ...reader.parts.map((each) => members(each, "properties").get(name))];
    const stated = schemas.filter((each) => each !== undefined);
    const byDefault = flatten(stated, check.budget).parts.some(({ schema }) => Object.hasOwn(schema, "default"));
    if (byDefault) continue;
    const known = written.some(({ properties }) => properties.has(name));
    check.report(
      `${path}/required/${escape(name)}`,
      known
        ? `the property ${show(name)} was optional and is required, without a default`
        : `the required property ${show(name)} was added without a default`,
    );
  }
}

function compareNames(check: Check, { part, writer, path }: Pair): void {
  const names = node(part, "propertyNames");
  if (names === undefined) return;
  const before = writer.parts.flatMap((each) => node(each, "propertyNames") ?? []);
  const texts: Node = { schema: { type: "string" }, document: part.document };
  check.includes(names, flatten([texts, ...before], check.budget), `${path}/propertyNames`);
}

/** `dependentRequired`, `dependentSchemas`, and `dependencies`, which is both. */
function compareDependencies(check: Check, { part, writer, path }: Pair): void {
  const always = required(writer);
  for (const keyword of ["dependentRequired", "dependencies"]) {
    const stated = own(part.schema, keyword);
    if (!isObject(stated)) continue;
    for (const [name, wanted] of Object.entries(stated)) {
      if (!Array.isArray(wanted)) continue;
      const before = writer.parts.flatMap(({ schema }) =>
        ["dependentRequired", "dependencies"].flatMap((each) => {
          const dependencies = own(schema, each);
          return isObject(dependencies) ? strings(own(dependencies, name)) : [];
        }),
      );
      const added = strings(wanted).filter((each) => !before.includes(each) && !always.has(each));
      if (added.length > 0)
        check.report(`${path}/${keyword}/${escape(name)}`, `${show(name)} requires ${added.join(", ")} now`);
    }
  }
  for (const keyword of ["dependentSchemas", "dependencies"]) {
    for (const [name, schema] of members(part, keyword)) {
      const before = writer.parts.flatMap((each) => members(each, keyword).get(name) ?? []);
      const kept = writer.parts.some((each) => sameWords(own(each.schema, keyword), own(part.schema, keyword)));
      if (kept || check.accepts(schema, flatten(before, check.budget, writer))) continue;
      check.report(`${path}/${keyword}/${escape(name)}`, mustBeKept(keyword, schema.schema));
    }
  }
}
