import { SluiceError } from "@sluice/core";
import { Ajv, type Options, type ValidateFunction } from "ajv";
import { Ajv2019 } from "ajv/dist/2019.js";
import { Ajv2020 } from "ajv/dist/2020.js";
import ajvFormats from "ajv-formats";
import { show } from "../errors.ts";
import type { JsonSchemaObject, JsonSchemaOptions } from "./schema.ts";
import { areUnique } from "./unique.ts";

/** In the words of Standard JSON Schema. */
export type Dialect = "draft-07" | "draft-2019-09" | "draft-2020-12";

const dialects: Readonly<Record<string, Dialect>> = {
  "http://json-schema.org/draft-07/schema": "draft-07",
  "https://json-schema.org/draft-07/schema": "draft-07",
  "https://json-schema.org/draft/2019-09/schema": "draft-2019-09",
  "https://json-schema.org/draft/2020-12/schema": "draft-2020-12",
};

/** @throws SluiceError `CONFIG` for a `$schema` that is none of the three */
export function dialectOf({ $schema }: JsonSchemaObject): Dialect {
  if ($schema === undefined) return "draft-2020-12";
  const found = typeof $schema === "string" ? dialects[$schema.replace(/#$/, "")] : undefined;
  if (found) return found;
  const known = "draft-07, 2019-09 and 2020-12";
  throw new SluiceError("CONFIG", `json-schema: $schema is ${show($schema)}; known are ${known}, by their URL`);
}

/** n.b. what this default export of a CommonJS module is depends on who loads it. */
const addFormats = (typeof ajvFormats === "function" ? ajvFormats : ajvFormats.default) as typeof ajvFormats.default;

export function validatorFor(
  dialect: Dialect,
  options: Required<Omit<JsonSchemaOptions, "limits">>,
  schema: JsonSchemaObject,
): ValidateFunction {
  const ajv = instance(dialect, {
    strict: options.strict,
    // `type: ["string", "null"]` is common and clear.
    allowUnionTypes: true,
    allErrors: options.allIssues,
    validateFormats: options.formats === "assert",
    // Nothing is written to a console.
    logger: false,
    // Two schemas with one $id are two schemas: each has an instance of its own.
    addUsedSchema: false,
  });
  addFormats(ajv);
  for (const keyword of options.keywords) ajv.addKeyword(keyword);
  replaceUniqueItems(ajv);
  for (const reference of options.references) {
    if (typeof reference["$id"] !== "string") throw new Error("a reference has no $id");
    ajv.addSchema(reference);
  }
  return ajv.compile({ ...schema });
}

function instance(dialect: Dialect, options: Options): Ajv {
  if (dialect === "draft-2020-12") return new Ajv2020(options);
  return dialect === "draft-2019-09" ? new Ajv2019(options) : new Ajv(options);
}

/** ajv compares each item with each other one: 20,000 objects would stop the process for seconds. */
function replaceUniqueItems(ajv: Ajv): void {
  ajv.removeKeyword("uniqueItems");
  ajv.addKeyword({
    keyword: "uniqueItems",
    type: "array",
    schemaType: "boolean",
    error: { message: "must NOT have duplicate items" },
    compile: (wanted: boolean) => (items: readonly unknown[]) => !wanted || areUnique(items),
  });
}
