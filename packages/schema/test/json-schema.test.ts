import { topic } from "@sluice/core";
import { describe, expect, expectTypeOf, test } from "vitest";
import { type JsonSchemaObject, jsonSchema } from "../src/json-schema/index.ts";
import { errorOf } from "./formats-support.ts";

interface Order {
  readonly id: string;
  readonly items: readonly { readonly sku: string; readonly qty: number }[];
}

const Order: JsonSchemaObject = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  $id: "https://example.com/order",
  type: "object",
  properties: {
    id: { type: "string", format: "uuid" },
    items: { type: "array", items: { $ref: "#/$defs/item" } },
  },
  required: ["id", "items"],
  additionalProperties: false,
  $defs: {
    item: {
      type: "object",
      properties: { sku: { type: "string" }, qty: { type: "integer", minimum: 1 } },
      required: ["sku", "qty"],
    },
  },
};
const id = "550e8400-e29b-41d4-a716-446655440000";

function issues(schema: JsonSchemaObject, value: unknown, options = {}): unknown {
  const result = jsonSchema(schema, options)["~standard"].validate(value);
  if (result instanceof Promise) throw new Error("expected an answer at once");
  return result.issues?.map(({ path = [], message }) => [path, message]);
}

test("a Standard Schema with the type that you say", () => {
  const schema = jsonSchema<Order>(Order);
  const orders = topic("orders", { schema, key: (order) => order.id });
  expectTypeOf<NonNullable<typeof orders.types>["input"]>().toEqualTypeOf<Order>();
  const value = { id, items: [{ sku: "s", qty: 1 }] };
  expect(schema["~standard"].validate(value)).toEqual({ value });
  expect(schema["~standard"].jsonSchema.input({ target: "draft-2020-12" })).toEqual(Order);
  expect(() => schema["~standard"].jsonSchema.output({ target: "draft-07" })).toThrow("written in draft-2020-12");
});

test("issues have paths", () => {
  expect(
    issues(Order, {
      id,
      items: [
        { sku: "s", qty: 1 },
        { sku: "t", qty: 0 },
      ],
    }),
  ).toEqual([[["items", 1, "qty"], "must be >= 1"]]);
  expect(issues(Order, { id: "no", items: [{ sku: 1 }], more: 1 }, { allIssues: true })).toEqual([
    [["more"], "must NOT have additional properties"],
    [["id"], 'must match format "uuid"'],
    [["items", 0, "qty"], "must have required property 'qty'"],
    [["items", 0, "sku"], "must be string"],
  ]);
  expect(issues({ type: "object", properties: { "a/b~c": { type: "string" } } }, { "a/b~c": 1 })).toEqual([
    [["a/b~c"], "must be string"],
  ]);
});

describe("dialects", () => {
  const tuple = (draft: string) => ({ $schema: draft, type: "array", minItems: 1 });
  test("draft-07, 2019-09 and 2020-12, by $schema", () => {
    const old = {
      ...tuple("http://json-schema.org/draft-07/schema#"),
      items: [{ type: "string" }],
      additionalItems: false,
      maxItems: 1,
    };
    expect(issues(old, ["a"])).toBeUndefined();
    expect(issues(old, [1])).toEqual([[[0], "must be string"]]);
    const middle = {
      $schema: "https://json-schema.org/draft/2019-09/schema",
      type: "object",
      properties: { a: true },
      dependentRequired: { a: ["b"] },
    };
    expect(issues(middle, { a: 1 })).toEqual([[["b"], "must have property b when property a is present"]]);
    const latest = {
      ...tuple("https://json-schema.org/draft/2020-12/schema"),
      prefixItems: [{ type: "string" }],
      items: false,
      maxItems: 1,
    };
    expect(issues(latest, [1])).toEqual([[[0], "must be string"]]);
    expect(issues({ type: "object", unevaluatedProperties: false }, { x: 1 })).toEqual([
      [["x"], "must NOT have unevaluated properties"],
    ]);
  });

  test("another one is refused", async () => {
    const error = await errorOf(() => jsonSchema({ $schema: "http://json-schema.org/draft-04/schema#" }));
    expect(error.code).toBe("CONFIG");
    expect(error.message).toContain("known are draft-07, 2019-09 and 2020-12");
  });
});

describe("strictness", () => {
  test("unknown keywords and formats are mistakes, unless said otherwise", async () => {
    expect((await errorOf(() => jsonSchema({ type: "string", formatt: "uuid" }))).message).toContain(
      'unknown keyword: "formatt"',
    );
    expect((await errorOf(() => jsonSchema({ type: "string", format: "nothing" }))).message).toContain(
      'unknown format "nothing"',
    );
    expect(issues({ type: "string", "confluent:tags": ["PII"] }, 1, { keywords: ["confluent:tags"] })).toHaveLength(1);
    expect(issues({ type: "string", formatt: "x" }, "a", { strict: false })).toBeUndefined();
    expect(issues({ type: "string", format: "uuid" }, "a", { formats: "annotate" })).toBeUndefined();
    expect(issues({ type: ["string", "null"] }, null)).toBeUndefined();
  });

  test("references are given, never fetched", async () => {
    const money = { $id: "https://example.com/money", type: "integer" };
    const schema = { type: "object", properties: { total: { $ref: "https://example.com/money" } } };
    expect(issues(schema, { total: "1" }, { references: [money] })).toEqual([[["total"], "must be integer"]]);
    expect((await errorOf(() => jsonSchema(schema))).message).toContain(
      "can't resolve reference https://example.com/money",
    );
    expect((await errorOf(() => jsonSchema(schema, { references: [{ type: "integer" }] }))).message).toContain(
      "no $id",
    );
  });

  test("a schema that is none", async () => {
    const error = await errorOf(() => jsonSchema({ type: "text" }));
    expect(error.code).toBe("CONFIG");
    expect(error.message).toContain("json-schema: the schema cannot be compiled as draft-2020-12");
  });
});

test("items are unique by value, in linear time", () => {
  const schema = { type: "array", uniqueItems: true };
  expect(
    issues(schema, [1, "1", { a: 1, b: [2] }, { a: 1, b: [3] }, null, "null", true, "true", [1], "[1]"]),
  ).toBeUndefined();
  expect(
    issues(schema, [
      { a: 1, b: 2 },
      { b: 2, a: 1 },
    ]),
  ).toEqual([[[], "must NOT have duplicate items"]]);
  const many = Array.from({ length: 20_000 }, (_, index) => ({ index, text: `n${index}` }));
  // Comparing each with each would take half a minute.
  expect(issues(schema, many)).toBeUndefined();
});

test("two schemas with one $id are two schemas; one schema is compiled once", () => {
  const a = { $id: "https://example.com/same", type: "string" };
  const b = { $id: "https://example.com/same", type: "number" };
  expect([issues(a, "x"), issues(b, 1), issues(a, 1), issues(b, "x")]).toEqual([
    undefined,
    undefined,
    [[[], "must be string"]],
    [[[], "must be number"]],
  ]);
});
