import { SluiceError } from "@sluice/core";
import { isObject, type JsonObject, own, parseJson, show } from "../budget.ts";

/** A schema with its names resolved. Named types are one object each, so recursion is a cycle. */
export type Avro = AvroPlain | AvroRecord | AvroEnum | AvroFixed | AvroArray | AvroMap | AvroUnion;

interface AvroPlain {
  /** A primitive, or a name that the text does not define (`reference`): a type of another subject. */
  readonly kind: Primitive | "reference";
  readonly name: string;
  readonly decimal?: string;
}
export interface AvroField {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly type: Avro;
  readonly hasDefault: boolean;
}
interface Named {
  /** Without its namespace. */
  readonly name: string;
  readonly fullName: string;
  readonly aliases: readonly string[];
}
export interface AvroRecord extends Named {
  readonly kind: "record";
  readonly fields: AvroField[];
}
export interface AvroEnum extends Named {
  readonly kind: "enum";
  readonly symbols: readonly string[];
  readonly fallback: string | undefined;
}
interface AvroFixed extends Named {
  readonly kind: "fixed";
  readonly size: number;
  readonly decimal?: string;
}
interface AvroArray {
  readonly kind: "array";
  readonly items: Avro;
}
interface AvroMap {
  readonly kind: "map";
  readonly values: Avro;
}
interface AvroUnion {
  readonly kind: "union";
  readonly branches: readonly Avro[];
}

const primitives = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"] as const;
type Primitive = (typeof primitives)[number];
const isPrimitive = (name: string): name is Primitive => (primitives as readonly string[]).includes(name);
const identifier = /^[A-Za-z_]\w*$/;

interface Scope {
  readonly owner: string;
  readonly namespace: string;
  readonly types: Map<string, Avro>;
}

/** Throws `CONFIG` naming the place for what is not an Avro schema. */
export function parseAvro(text: string, owner: string): Avro {
  // The specification's shortest schema is a bare name, which is JSON only with its quotes; files hold both.
  const bare = text.trim();
  const value = isPrimitive(bare) ? bare : parseJson(text, owner);
  return parseType(value, { owner, namespace: "", types: new Map() }, "");
}

function invalid(scope: Scope, path: string, problem: string): SluiceError {
  const place = path === "" ? "its root" : path;
  return new SluiceError("CONFIG", `compatibility: ${scope.owner} is not Avro: ${place} ${problem}; correct it`);
}

function parseType(value: unknown, scope: Scope, path: string): Avro {
  if (typeof value === "string") return lookUp(value, scope, path);
  if (Array.isArray(value)) return parseUnion(value, scope, path);
  if (!isObject(value)) throw invalid(scope, path, `is ${show(value)}, not a type`);
  const type = own(value, "type");
  switch (type) {
    case "record":
    case "error":
      return parseRecord(value, scope, path);
    case "enum":
      return parseEnum(value, scope, path);
    case "fixed":
      return parseFixed(value, scope, path);
    case "array":
      return { kind: "array", items: parseType(own(value, "items"), scope, join(path, "[]")) };
    case "map":
      return { kind: "map", values: parseType(own(value, "values"), scope, join(path, "{}")) };
    default: {
      const inner = parseType(type, scope, path);
      const decimal = decimalOf(value);
      return inner.kind === "bytes" && decimal !== undefined ? { ...inner, decimal } : inner;
    }
  }
}

export function join(path: string, part: string): string {
  return path === "" ? part : `${path}.${part}`;
}

function lookUp(name: string, scope: Scope, path: string): Avro {
  if (isPrimitive(name)) return { kind: name, name };
  if (name === "") throw invalid(scope, path, "has an empty name");
  const fullName = name.includes(".") || scope.namespace === "" ? name : `${scope.namespace}.${name}`;
  return scope.types.get(fullName) ?? scope.types.get(name) ?? { kind: "reference", name: fullName };
}

function parseUnion(value: readonly unknown[], scope: Scope, path: string): AvroUnion {
  const branches = value.map((branch, index) => parseType(branch, scope, join(path, `(${index})`)));
  const seen = new Set<string>();
  for (const branch of branches) {
    if (branch.kind === "union") throw invalid(scope, path, "has a union directly inside of a union");
    const key = "fullName" in branch ? branch.fullName : branch.kind === "reference" ? branch.name : branch.kind;
    if (seen.has(key)) throw invalid(scope, path, `has two branches of the type ${key}`);
    seen.add(key);
  }
  return { kind: "union", branches };
}

function names(value: JsonObject, scope: Scope, path: string): { named: Named; inner: Scope } {
  const stated = own(value, "name");
  if (typeof stated !== "string" || stated === "") throw invalid(scope, path, "is a named type without a name");
  const space = own(value, "namespace");
  const namespace = stated.includes(".")
    ? stated.slice(0, stated.lastIndexOf("."))
    : typeof space === "string"
      ? space
      : scope.namespace;
  const name = stated.slice(stated.lastIndexOf(".") + 1);
  if (!identifier.test(name)) throw invalid(scope, path, `has the name ${show(name)}, which Avro does not allow`);
  const full = (part: string) => (part.includes(".") || namespace === "" ? part : `${namespace}.${part}`);
  const fullName = full(name);
  if (scope.types.has(fullName)) throw invalid(scope, path, `defines ${fullName} a second time`);
  return {
    named: { name, fullName, aliases: strings(own(value, "aliases")).map(full) },
    inner: { ...scope, namespace },
  };
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

function parseRecord(value: JsonObject, scope: Scope, path: string): AvroRecord {
  const { named, inner } = names(value, scope, path);
  const fields = own(value, "fields");
  if (!Array.isArray(fields)) throw invalid(scope, path, "is a record without fields");
  const record: AvroRecord = { kind: "record", ...named, fields: [] };
  // Known before its fields are read: a record may hold itself.
  scope.types.set(named.fullName, record);
  const seen = new Set<string>();
  for (const field of fields as readonly unknown[]) {
    const name = isObject(field) ? own(field, "name") : undefined;
    if (!isObject(field) || typeof name !== "string" || !identifier.test(name)) {
      throw invalid(scope, join(path, named.name), `has a field ${show(name ?? field)} without a legal name`);
    }
    if (seen.has(name)) throw invalid(scope, join(path, named.name), `has the field ${name} twice`);
    seen.add(name);
    record.fields.push({
      name,
      aliases: strings(own(field, "aliases")),
      type: parseType(own(field, "type"), inner, join(path, name)),
      hasDefault: Object.hasOwn(field, "default"),
    });
  }
  return record;
}

function parseEnum(value: JsonObject, scope: Scope, path: string): AvroEnum {
  const { named } = names(value, scope, path);
  const symbols = strings(own(value, "symbols"));
  const stated = own(value, "symbols");
  if (
    !Array.isArray(stated) ||
    stated.length !== new Set(symbols).size ||
    !symbols.every((each) => identifier.test(each))
  ) {
    throw invalid(scope, path, "is an enum whose symbols are not a list of different names");
  }
  const fallback = own(value, "default");
  if (fallback !== undefined && (typeof fallback !== "string" || !symbols.includes(fallback))) {
    throw invalid(scope, path, `is an enum whose default ${show(fallback)} is no symbol of it`);
  }
  const parsed: AvroEnum = { kind: "enum", ...named, symbols, fallback };
  scope.types.set(named.fullName, parsed);
  return parsed;
}

function parseFixed(value: JsonObject, scope: Scope, path: string): AvroFixed {
  const { named } = names(value, scope, path);
  const size = own(value, "size");
  if (typeof size !== "number" || !Number.isInteger(size) || size < 0) {
    throw invalid(scope, path, `is a fixed of the size ${show(size)}`);
  }
  const decimal = decimalOf(value);
  const parsed: AvroFixed = { kind: "fixed", ...named, size, ...(decimal === undefined ? {} : { decimal }) };
  scope.types.set(named.fullName, parsed);
  return parsed;
}

/** Precision and scale as text; undefined where the annotation is absent or not valid, which readers must ignore. */
function decimalOf(value: JsonObject): string | undefined {
  if (own(value, "logicalType") !== "decimal") return undefined;
  const precision = own(value, "precision");
  const scale = own(value, "scale") ?? 0;
  if (typeof precision !== "number" || typeof scale !== "number" || precision <= 0 || scale < 0 || scale > precision) {
    return undefined;
  }
  return `(${precision}, ${scale})`;
}
