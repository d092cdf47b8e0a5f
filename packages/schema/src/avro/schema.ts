import { SluiceError } from "@sluice/core";
import avsc from "avsc";
import { reasonOf, show } from "../errors.ts";
import { logicalTypes } from "./logical-types.ts";
import { longType } from "./longs.ts";

/** An Avro schema as an object, a primitive's name, or its JSON text. */
export type AvroSchema = string | Readonly<Record<string, unknown>> | readonly unknown[];

export interface AvroTypeOptions {
  /** What a `long` is: always a bigint, or a number and refused beyond ±(2^53 − 1), never rounded. @default "bigint" */
  readonly longs?: "bigint" | "number";
  /** Schemas of named types that the schema uses by name, in order of use. @default none */
  readonly types?: readonly AvroSchema[];
  /**
   * Whether the value of a union stands in an object that names its branch, `{ string: "a" }`. `auto`: only where the value alone
   * does not tell, such as in `["int", "long"]`. @default "auto"
   */
  readonly unions?: "auto" | "always" | "never";
}

/** A schema as avsc knows it, with exact longs and logical types; and the text of its Parsing Canonical Form. */
export interface AvroType {
  readonly type: avsc.Type;
  readonly canonical: string;
}

/** @throws SluiceError `CONFIG` for something that is no Avro schema */
export function avroType(schema: AvroSchema, options: AvroTypeOptions): AvroType {
  const { longs = "bigint", types = [], unions = "auto" } = options;
  const registry: Record<string, avsc.Type> = { long: longType(longs) };
  const typeHook = unions === "auto" && longs === "number" ? wrapNumbers : () => undefined;
  const make = (each: AvroSchema) =>
    avsc.Type.forSchema(normal(parsed(each)) as avsc.Schema, {
      registry,
      logicalTypes: logicalTypes(longs),
      wrapUnions: unions,
      typeHook,
    });
  try {
    for (const each of types) make(each);
    const type = make(schema);
    return { type, canonical: JSON.stringify(type.schema()) };
  } catch (cause) {
    throw new SluiceError("CONFIG", `avro: ${describe(schema)} cannot be used: ${reasonOf(cause)}`, { cause });
  }
}

/** JSON text becomes what it says; a name stays a name. */
export function parsed(schema: AvroSchema): unknown {
  if (typeof schema !== "string") return schema;
  return /^\s*[[{"]/.test(schema) ? (JSON.parse(schema) as unknown) : schema;
}

const complex = new Set<unknown>(["record", "error", "enum", "array", "map", "fixed"]);
const primitive = new Set<unknown>(["null", "boolean", "int", "float", "double", "bytes", "string"]);
/** The logical types of `long` that are converted. */
const ofLong = new Set<unknown>(["timestamp-millis", "timestamp-micros"]);

/**
 * The same schema with `"long"` for `{ "type": "long" }`, and a name for `{ "type": name }`, as the specification allows them.
 * n.b. for the first avsc would take its own long type, and not the one that it was given.
 */
function normal(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(normal);
  if (typeof schema !== "object" || schema === null || !("type" in schema)) return schema;
  const { type, fields, items, values, logicalType } = schema as Readonly<Record<string, unknown>>;
  if (type === "long") return ofLong.has(logicalType) ? { ...schema } : "long";
  if (!complex.has(type) && !primitive.has(type)) return normal(type);
  return {
    ...schema,
    ...(items !== undefined && { items: normal(items) }),
    ...(values !== undefined && { values: normal(values) }),
    ...(Array.isArray(fields) && { fields: fields.map(normalField) }),
  };
}

function normalField(field: unknown): unknown {
  if (typeof field !== "object" || field === null || !("type" in field)) return field;
  return { ...field, type: normal(field.type) };
}

/** A number is an int, a float, a double or a long: where a union has two of them, only a name tells which. */
function wrapNumbers(schema: avsc.Schema, options: unknown): avsc.Type | undefined {
  if (!Array.isArray(schema)) return undefined;
  const kinds: unknown[] = schema.map((each) => (typeof each === "object" && "type" in each ? each.type : each));
  const numbers = kinds.filter((kind) => kind === "int" || kind === "float" || kind === "double");
  return kinds.includes("long") && numbers.length > 0 ? new avsc.types.WrappedUnionType(schema, options) : undefined;
}

/** Full name of a named type; `""` for another schema. */
export function avroName(schema: AvroSchema): string {
  const { name, namespace } = Object(parsed(schema)) as { readonly name?: unknown; readonly namespace?: unknown };
  if (typeof name !== "string") return "";
  return typeof namespace === "string" && namespace !== "" && !name.includes(".") ? `${namespace}.${name}` : name;
}

function describe(schema: AvroSchema): string {
  const name = typeof schema === "string" ? "" : avroName(schema);
  return name === "" ? "the schema" : `schema ${show(name)}`;
}
