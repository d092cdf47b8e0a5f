// The proof of the pudding: what we call compatible is tried on values. Whatever one schema allows, the other must allow.
import { compatible } from "@sluice/schema/compatibility";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { expect, it } from "vitest";

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

const names = fc.constantFrom("a", "b", "x-c");
const scalars: fc.Arbitrary<Json> = fc.constantFrom(null, true, false, 0, 1, 2, 2.5, 7, "", "a", "ab", "abc", "b");
const { value: values } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", maxDepth: 3, withCrossShrink: true },
    scalars,
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(names, tie("value"), { maxKeys: 3, noNullPrototype: true }),
  ),
}));

const types = fc.constantFrom("null", "boolean", "object", "array", "string", "integer", "number");
const small = fc.integer({ min: 0, max: 3 });
const { schema: schemas } = fc.letrec<{ schema: object | boolean }>((tie) => {
  const schema = tie("schema");
  const members = fc.dictionary(names, schema, { maxKeys: 2, noNullPrototype: true });
  const some = fc.array(schema, { minLength: 1, maxLength: 2 });
  const keywords = {
    type: fc.oneof(types, fc.uniqueArray(types, { minLength: 1, maxLength: 3 })),
    enum: fc.uniqueArray(scalars, { minLength: 1, maxLength: 3 }),
    const: scalars,
    minLength: small,
    maxLength: small,
    pattern: fc.constantFrom("^a", "b$"),
    minimum: small,
    maximum: small,
    exclusiveMinimum: small,
    exclusiveMaximum: small,
    multipleOf: fc.constantFrom(1, 2, 0.5),
    properties: members,
    patternProperties: fc.dictionary(fc.constantFrom("^x-", "^a"), schema, { maxKeys: 1, noNullPrototype: true }),
    additionalProperties: schema,
    unevaluatedProperties: schema,
    required: fc.uniqueArray(names, { maxLength: 2 }),
    minProperties: small,
    maxProperties: small,
    propertyNames: fc.constantFrom({ maxLength: 1 }, { pattern: "^a" }, {}),
    dependentRequired: fc.dictionary(names, fc.uniqueArray(names, { maxLength: 2 }), {
      maxKeys: 1,
      noNullPrototype: true,
    }),
    dependentSchemas: fc.dictionary(names, schema, { maxKeys: 1, noNullPrototype: true }),
    prefixItems: some,
    items: schema,
    minItems: small,
    maxItems: small,
    uniqueItems: fc.boolean(),
    contains: schema,
    anyOf: some,
    oneOf: fc.tuple(schema),
    allOf: some,
    not: schema,
    if: schema,
    $ref: fc.constantFrom("#/$defs/text", "#/$defs/list"),
  };
  // A few keywords at a time: with all of them nothing would be valid.
  const object = fc
    .uniqueArray(fc.constantFrom(...(Object.keys(keywords) as (keyof typeof keywords)[])), {
      minLength: 1,
      maxLength: 3,
    })
    .chain((chosen) =>
      fc.record(Object.fromEntries(chosen.map((name) => [name, keywords[name] as fc.Arbitrary<unknown>]))),
    );
  return {
    schema: fc.oneof(
      { depthSize: "small", maxDepth: 3 },
      fc.constantFrom<object | boolean>(true, {}, { type: "string" }, { type: "integer" }),
      object,
    ),
  };
});

const $defs = {
  text: { type: "string", maxLength: 2 },
  list: { type: ["object", "null"], properties: { a: { $ref: "#/$defs/list" } }, required: ["a"] },
};
const root = (schema: object | boolean) => (typeof schema === "boolean" ? schema : { ...schema, $defs });
const ajv = new Ajv2020({ strict: false, validateSchema: false, logger: false, unevaluated: true });

/** A change of a schema: often a small one, so that many pairs are compatible. */
const changes = fc.oneof(
  fc.tuple(schemas, schemas),
  fc.tuple(schemas, schemas).map(([one, other]) => [one, { anyOf: [one, other] }] as const),
  fc.tuple(schemas, schemas).map(([one, other]) => [{ allOf: [one, other] }, one] as const),
  fc
    .tuple(schemas, schemas, schemas)
    .map(
      ([one, other, third]) => [{ properties: { a: one, b: other } }, { properties: { a: one, b: third } }] as const,
    ),
  fc.tuple(schemas, fc.string({ maxLength: 3 })).map(([one, title]) => [one, { title, allOf: [one] }] as const),
);

/** Undefined where ajv itself fails: it loses count of evaluated properties in some unions. */
function judge(validate: (value: Json) => unknown, value: Json): boolean | undefined {
  try {
    return validate(value) === true;
  } catch {
    return undefined;
  }
}

it("allows no value that the other schema refuses", () => {
  let compatibles = 0;
  fc.assert(
    fc.property(changes, fc.array(values, { minLength: 30, maxLength: 30 }), ([old, current], samples) => {
      const [before, after] = [root(old), root(current)];
      const verdict = compatible({
        type: "json-schema",
        level: "BACKWARD",
        schema: JSON.stringify(after),
        against: [JSON.stringify(before)],
      });
      if (!verdict.compatible) return;
      compatibles += 1;
      const [was, is] = [ajv.compile(before), ajv.compile(after)];
      expect(samples.filter((sample) => judge(was, sample) === true && judge(is, sample) === false)).toEqual([]);
    }),
    { numRuns: Number(process.env["RUNS"] ?? 120), ...(process.env["RUNS"] === undefined ? { seed: 7 } : {}) },
  );
  expect(compatibles).toBeGreaterThan(20);
});
