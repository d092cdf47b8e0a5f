import { type Bytes, type Codec, json, type SchemaIssue, SluiceError, type StandardSchema } from "@sluice/core";
import type { ErrorObject, ValidateFunction } from "ajv";
import { reasonOf } from "../errors.ts";
import { limited, type PayloadLimits } from "../limits.ts";
import type { SchemaFormat } from "../registry/format.ts";
import { type Dialect, dialectOf, validatorFor } from "./dialects.ts";

/** A JSON Schema as an object. `$schema` names its dialect: draft-07, 2019-09 or 2020-12. @default 2020-12 */
export type JsonSchemaObject = Readonly<Record<string, unknown>>;

export interface JsonSchemaOptions {
  /** Schemas that this one refers to, each with an `$id`. Nothing is ever fetched. @default none */
  readonly references?: readonly JsonSchemaObject[];
  /** Whether `format` is checked, or only an annotation as 2020-12 has it by default. @default "assert" */
  readonly formats?: "assert" | "annotate";
  /**
   * Refuses what is probably a mistake: unknown keywords and formats, keywords that can never apply. Switch it off for schemas
   * that other people wrote. @default true
   */
  readonly strict?: boolean;
  /** Further keywords that say nothing about validity, such as a vendor's. @default none */
  readonly keywords?: readonly string[];
  /** Whether all issues are looked for, or only the first: all of them cost time on hostile input. @default false */
  readonly allIssues?: boolean;
  /** Of bodies that are read with the schema of a registry. @default defaultPayloadLimits */
  readonly limits?: Partial<PayloadLimits>;
}

/** A Standard Schema that can also tell its JSON Schema. */
export interface JsonStandardSchema<T> extends StandardSchema<T>, SchemaFormat<T> {
  readonly schemaType: "JSON";
  readonly "~standard": StandardSchema<T>["~standard"] & {
    readonly jsonSchema: {
      /** @throws Error for a dialect that this schema is not written in */
      input(options: { readonly target: string }): Record<string, unknown>;
      output(options: { readonly target: string }): Record<string, unknown>;
    };
  };
}

/**
 * A JSON Schema as a Standard Schema: `topic("orders", { schema: jsonSchema<Order>({ … }) })`. Compiled once for each schema object
 * and options, and only here: it makes code, so compile schemas of your own or of a registry that you trust. Values are checked,
 * never changed: `default` is an annotation. `T` is what you say it is.
 * @throws SluiceError `CONFIG` for a schema or dialect that cannot be compiled
 */
export function jsonSchema<T = unknown>(
  schema: JsonSchemaObject,
  options: JsonSchemaOptions = {},
): JsonStandardSchema<T> {
  const dialect = dialectOf(schema);
  const isValid = compiled(schema, dialect, options);
  const copy = ({ target }: { readonly target: string }): Record<string, unknown> => {
    if (target === dialect) return structuredClone(schema);
    throw new Error(`json-schema: this schema is written in ${dialect}, not in ${target}`);
  };
  const codec = limited(json(), options.limits) as Codec<T>;
  const { references = [] } = options;
  return {
    contentType: codec.contentType,
    schemaType: "JSON",
    schemaText: JSON.stringify(schema),
    name: typeof schema["title"] === "string" ? schema["title"] : undefined,
    references: references.map((each) => ({ name: String(each["$id"]), schema: JSON.stringify(each) })),
    write: (payload, message) => codec.encode(payload, message) as Bytes,
    // JSON says what it is: which schema it was written with makes no difference.
    reader: () => (body, message) => codec.decode(body, message) as T,
    "~standard": {
      version: 1,
      vendor: "sluice",
      validate: (value) => {
        if (isValid(value)) return { value: value as T };
        return { issues: (isValid.errors ?? []).map((error) => toIssue(error, value)) };
      },
      jsonSchema: { input: copy, output: copy },
    },
  };
}

const cache = new WeakMap<JsonSchemaObject, Map<string, ValidateFunction>>();

function compiled(schema: JsonSchemaObject, dialect: Dialect, options: JsonSchemaOptions): ValidateFunction {
  const known = cache.get(schema) ?? new Map<string, ValidateFunction>();
  cache.set(schema, known);
  const { references = [], formats = "assert", strict = true, keywords = [], allIssues = false } = options;
  const key = JSON.stringify([formats, strict, keywords, allIssues, references]);
  const found = known.get(key);
  if (found) return found;
  try {
    const made = validatorFor(dialect, { references, formats, strict, keywords, allIssues }, schema);
    known.set(key, made);
    return made;
  } catch (cause) {
    const text = `json-schema: the schema cannot be compiled as ${dialect}: ${reasonOf(cause)}`;
    throw new SluiceError("CONFIG", `${text}; correct it, or see the options strict, keywords and references`, {
      cause,
    });
  }
}

/** Members of the error's parameters that name the property meant, which the pointer of ajv does not contain. */
const properties: Readonly<Record<string, string>> = {
  required: "missingProperty",
  dependentRequired: "missingProperty",
  additionalProperties: "additionalProperty",
  unevaluatedProperties: "unevaluatedProperty",
  propertyNames: "propertyName",
};

function toIssue(error: ErrorObject, root: unknown): SchemaIssue {
  const path: PropertyKey[] = [];
  let at = root;
  for (const part of error.instancePath.split("/").slice(1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    path.push(Array.isArray(at) ? Number(name) : name);
    at = typeof at === "object" && at !== null ? (at as Record<string, unknown>)[name] : undefined;
  }
  const property: unknown = (error.params as Record<string, unknown>)[properties[error.keyword] ?? ""];
  if (typeof property === "string") path.push(property);
  return { message: error.message ?? `fails "${error.keyword}"`, path };
}
