import { isSluiceError, type SluiceError } from "@sluice/core";
import { compatible, type CompatibilityLevel, type CompatibleOptions } from "@sluice/schema/compatibility";
import { describe, expect, it } from "vitest";
import { schemaPairs } from "./pairs/index.ts";

const record = (...fields: readonly object[]) => JSON.stringify({ type: "record", name: "Order", fields });
const id = { name: "id", type: "string" };
const avro = (level: CompatibilityLevel, schema: string, ...against: readonly string[]) =>
  compatible({ type: "avro", level, schema, against });

function errorOf(run: () => unknown): SluiceError {
  try {
    run();
  } catch (error) {
    if (isSluiceError(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("the table of schema pairs", () => {
  it("has enough of every format, and different names", () => {
    const count = (type: string) => schemaPairs.filter((pair) => pair.type === type).length;
    expect(count("avro")).toBeGreaterThanOrEqual(40);
    expect(count("json-schema")).toBeGreaterThanOrEqual(40);
    expect(count("protobuf")).toBeGreaterThanOrEqual(20);
    expect(new Set(schemaPairs.map(({ type, name }) => `${type} ${name}`)).size).toBe(schemaPairs.length);
  });

  it.for(schemaPairs)("$type: $name", ({ type, old, new: schema, backward, forward }) => {
    const verdict = (level: CompatibilityLevel) => compatible({ type, level, schema, against: [old] }).compatible;
    expect({ backward: verdict("BACKWARD"), forward: verdict("FORWARD") }).toEqual({ backward, forward });
    expect(verdict("FULL")).toBe(backward && forward);
  });

  it("holds every schema compatible with itself", () => {
    for (const { type, old } of schemaPairs) {
      expect(compatible({ type, level: "FULL", schema: old, against: [old] }).problems).toEqual([]);
    }
  });
});

describe("levels", () => {
  const plain = record(id);
  const withNumber = record(id, { name: "n", type: "int", default: 1 });
  const withText = record(id, { name: "n", type: "string", default: "1" });

  it("compares with the newest, or with all", () => {
    expect(avro("BACKWARD", withText, withNumber, plain).compatible).toBe(true);
    expect(avro("BACKWARD_TRANSITIVE", withText, withNumber, plain).problems).toEqual([
      { path: "Order.n", reason: "int cannot be read as string", direction: "backward", against: 0 },
    ]);
    expect(avro("FORWARD_TRANSITIVE", withText, withNumber, plain).problems).toEqual([
      { path: "Order.n", reason: "string cannot be read as int", direction: "forward", against: 0 },
    ]);
    expect(avro("FULL_TRANSITIVE", withText, withNumber, plain).problems).toHaveLength(2);
  });

  it("allows anything with NONE and without old versions", () => {
    expect(avro("NONE", withText, withNumber)).toEqual({ compatible: true, problems: [] });
    expect(avro("FULL", withText)).toEqual({ compatible: true, problems: [] });
  });

  it("refuses what does not exist", () => {
    const wrong = { type: "avro", level: "SOME", schema: '"int"', against: [] } as unknown as CompatibleOptions;
    expect(errorOf(() => compatible(wrong)).message).toContain('level "SOME" does not exist; use NONE, BACKWARD');
    const type = { ...wrong, level: "FULL", type: "xml" } as unknown as CompatibleOptions;
    expect(errorOf(() => compatible(type)).message).toContain("use avro, json-schema, protobuf");
    const policy = { ...wrong, level: "FULL", policy: "lax" } as unknown as CompatibleOptions;
    expect(errorOf(() => compatible(policy)).message).toContain("use strict, lenient");
  });
});

describe("Avro", () => {
  it("says where, also inside of lists, maps and unions", () => {
    const order = (type: string) =>
      record({ name: "lines", type: { type: "array", items: { type: "map", values: ["null", type] } } });
    expect(avro("BACKWARD", order("int"), order("string")).problems).toEqual([
      {
        path: "Order.lines.[].{}",
        reason: "no branch of the reader's union reads string",
        direction: "backward",
        against: 0,
      },
    ]);
  });

  it("reads texts with a byte order mark, and a bare name", () => {
    expect(avro("FULL", `\uFEFF${record(id)}`, record(id)).compatible).toBe(true);
    expect(avro("BACKWARD", "long", '"int"').compatible).toBe(true);
  });

  it("takes a type of another text for the same where its name is the same", () => {
    const order = (type: string) => record({ name: "customer", type });
    expect(avro("FULL", order("com.example.Customer"), order("com.example.Customer")).compatible).toBe(true);
    expect(avro("BACKWARD", order("com.example.Person"), order("com.example.Customer")).compatible).toBe(false);
  });

  it("reads a recursive union by the whole of its branches", () => {
    const list = (value: string) =>
      record({ name: "value", type: value }, { name: "next", type: ["null", "Order"], default: null });
    expect(avro("BACKWARD", list("long"), list("int")).compatible).toBe(true);
    expect(avro("FORWARD", list("long"), list("int")).problems.map(({ path }) => path)).toContain("Order.value");
  });

  it.for([
    ["{", "is not JSON"],
    ["3", "its root is 3, not a type"],
    ['{"type":"record","name":"A"}', "is a record without fields"],
    ['{"type":"record","name":"1a","fields":[]}', "which Avro does not allow"],
    ['{"type":"enum","name":"A","symbols":["x","x"]}', "not a list of different names"],
    ['{"type":"enum","name":"A","symbols":["x"],"default":"y"}', "no symbol of it"],
    ['{"type":"fixed","name":"A","size":-1}', "is a fixed of the size -1"],
    ['["int","int"]', "two branches of the type int"],
    ['[["int"]]', "a union directly inside of a union"],
    [record(id, id), "has the field id twice"],
  ] as const)("refuses %s", ([schema, message]) => {
    const error = errorOf(() => avro("BACKWARD", schema));
    expect(error.code).toBe("CONFIG");
    expect(error.message).toContain(`the new schema is not`);
    expect(error.message).toContain(message);
  });
});

describe("JSON Schema", () => {
  const check = (level: CompatibilityLevel, schema: unknown, old: unknown, policy: "strict" | "lenient" = "strict") =>
    compatible({
      type: "json-schema",
      level,
      policy,
      schema: JSON.stringify(schema),
      against: [JSON.stringify(old)],
    });
  const reasons = (schema: unknown, old: unknown) =>
    check("BACKWARD", schema, old).problems.map(({ path, reason }) => `${path}: ${reason}`);
  const string = { type: "string" };

  it("follows the lenient policy for properties that come and go", () => {
    const open = { type: "object", properties: { a: string } };
    const closed = { ...open, additionalProperties: false };
    const more = { ...open, properties: { a: string, b: string } };
    expect(check("FULL", more, open).compatible).toBe(false);
    expect(check("FULL", more, open, "lenient").compatible).toBe(true);
    expect(check("FULL", closed, open, "lenient").compatible).toBe(true);
    expect(check("FULL", closed, { ...more, additionalProperties: false }, "lenient").compatible).toBe(true);
    const withDefault = { ...more, properties: { a: string, b: { type: "string", default: "" } }, required: ["b"] };
    expect(check("BACKWARD", withDefault, open).compatible).toBe(false);
    expect(check("BACKWARD", withDefault, open, "lenient").compatible).toBe(true);
    expect(check("BACKWARD", { ...more, required: ["b"] }, open, "lenient").compatible).toBe(false);
    expect(check("BACKWARD", { ...open, properties: { a: { type: "integer" } } }, open, "lenient").compatible).toBe(
      false,
    );
  });

  it("says where, through references, unions and names with slashes", () => {
    const old = { $defs: { a: { properties: { "x/y": { anyOf: [string, { type: "null" }] } } } }, $ref: "#/$defs/a" };
    const current = { properties: { "x/y": string } };
    expect(reasons(current, old)).toEqual(["#/properties/x~1y/anyOf/1: the type null is no longer allowed"]);
  });

  it("splits what the old schema allows by type and by value", () => {
    const union = { anyOf: [{ type: "string", maxLength: 9 }, { type: "null" }, { const: 3 }] };
    expect(reasons(union, { type: ["string", "null"], maxLength: 5 })).toEqual([]);
    expect(reasons(union, { enum: ["a", null, 3] })).toEqual([]);
    expect(reasons(union, { enum: ["a", 4] })).toEqual(["#/anyOf: no branch of anyOf allows 4"]);
  });

  it("asks a union of one branch for its branch", () => {
    expect(reasons({ oneOf: [{ type: "integer" }] }, { minimum: 3 }).join()).toContain("is no longer allowed");
    const inside = { $defs: { a: { anyOf: [{ type: "integer" }] } }, properties: { b: { $ref: "#/$defs/a" } } };
    expect(reasons(inside, { properties: { b: { type: "null" } } }).join()).toContain("#/properties/b");
  });

  it("knows closed objects that are put together", () => {
    const base = { properties: { a: string } };
    const closed = (more: object) => ({ allOf: [base, { properties: more }], unevaluatedProperties: false });
    expect(reasons(closed({ b: string, c: string }), closed({ b: string }))).toEqual([]);
    expect(reasons(closed({}), closed({ b: string }))).toEqual([
      '#/properties/b: the property "b" is gone, and no other is allowed',
    ]);
    const union = { oneOf: [{ properties: { k: { const: 1 }, x: string } }], unevaluatedProperties: false };
    expect(reasons({ ...union, title: "Two" }, union)).toEqual([]);
  });

  it("compares what the registry does not look at, in doubt against it", () => {
    // n.b. text: an object with a member "then" is one that `await` would call.
    const kept = JSON.parse('{"if":{"properties":{"a":{"type":"string"}}},"then":{"required":["a"]}}') as object;
    expect(reasons({ ...kept, title: "x" }, kept)).toEqual([]);
    expect(reasons(kept, {}).join()).toContain("was added or changed");
    expect(reasons(kept, { if: kept }).join()).toContain("#/if: if");
    expect(reasons({ contains: string, minContains: 2 }, { contains: string, minContains: 3 })).toEqual([]);
    expect(reasons({ contains: string, minContains: 2 }, { contains: string })).toEqual([
      "#/minContains: minContains went from 1 to 2",
    ]);
    expect(reasons({ propertyNames: { maxLength: 3 } }, { propertyNames: { maxLength: 2 } })).toEqual([]);
    expect(reasons({ propertyNames: { maxLength: 3 } }, {}).join()).toContain("maxLength 3 was added");
    expect(reasons({ dependentRequired: { a: ["b"] } }, { required: ["b"] })).toEqual([]);
    expect(reasons({ dependentRequired: { a: ["b"] } }, {})).toEqual(['#/dependentRequired/a: "a" requires b now']);
    expect(reasons({ dependentSchemas: { a: { required: ["b"] } } }, {}).join()).toContain("dependentSchemas");
    expect(reasons({ oneOf: [string, { type: "null" }] }, { anyOf: [string, { type: "null" }] }).join()).toContain(
      "anyOf became oneOf",
    );
    expect(reasons({ $ref: "other.json" }, { $ref: "other.json", title: "x" })).toEqual([]);
    expect(reasons({ $ref: "other.json" }, {}).join()).toContain("leads to another text");
  });

  it("finds schemas by $id, $anchor and pointers with escapes", () => {
    const old = { properties: { a: { type: "integer" } } };
    const by = (reference: string) => ({
      $id: "https://example.com/root.json",
      properties: { a: { $ref: reference } },
      $defs: {
        "a/b": { $anchor: "number", type: "number", allOf: [{ $id: "#old" }] },
        inner: { $id: "inner.json", type: "number" },
      },
    });
    for (const reference of ["#number", "#old", "#/$defs/a~1b", "inner.json", "https://example.com/inner.json"]) {
      expect(reasons(by(reference), old)).toEqual([]);
    }
    expect(reasons(by("#nothing"), old).join()).toContain("leads to another text");
  });

  it("ignores what stands beside a reference only up to draft 7", () => {
    const schema = { $ref: "#/$defs/a", maxLength: 3, $defs: { a: string } };
    expect(reasons(schema, string)).toEqual(["#/maxLength: maxLength 3 was added"]);
    expect(reasons({ $schema: "http://json-schema.org/draft-07/schema#", ...schema }, string)).toEqual([]);
  });

  it("refuses a schema that means itself for the same value", () => {
    const error = errorOf(() => check("BACKWARD", { anyOf: [{ $ref: "#" }, string] }, string));
    expect(error.message).toContain("refers to itself for the same value");
    expect(errorOf(() => check("BACKWARD", 3, string)).message).toContain("must be an object, true or false");
  });
});
