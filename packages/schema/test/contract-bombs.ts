import type { SchemaType } from "@sluice/schema/compatibility";

const list = <Value>(length: number, make: (index: number) => Value) =>
  Array.from({ length }, (_, index) => make(index));
const map = (length: number, make: (index: number) => readonly [string, unknown]) =>
  Object.fromEntries(list(length, make));
const nest = (depth: number, open: string, middle: string, close: string) =>
  open.repeat(depth) + middle + close.repeat(depth);

const records = (fields: number) =>
  list(50, (index) => ({
    type: "record",
    name: `R${index}`,
    fields: list(fields, (other) => ({ name: `f${other}`, type: other < index ? `R${other}` : "int" })),
  }));
const unions = (fields: number) => ({
  type: "record",
  name: "A",
  fields: list(fields, (index) => ({
    name: `f${index}`,
    type: ["null", "A", { type: "array", items: ["null", "A"] }],
  })),
});
const doubling = (leaf: string) => ({
  $ref: "#/$defs/d0",
  $defs: {
    ...map(40, (index) => {
      const next = { $ref: `#/$defs/d${index + 1}` };
      return [`d${index}`, { anyOf: [{ properties: { a: next } }, { properties: { b: next } }] }];
    }),
    d40: { type: leaf },
  },
});
const products = (name: string) => ({
  allOf: list(12, (index) => ({
    anyOf: list(4, (value) => ({ properties: { [`p${index}`]: { const: value } }, required: [`${name}${index}`] })),
  })),
});
const patterns = (end: string) => ({
  properties: map(200, (index) => [`${"a".repeat(90)}${index}`, { type: "string" }]),
  patternProperties: map(200, (index) => [`^a*a*${index}${end}`, { type: "string" }]),
});
const hostilePattern = { [`${"a".repeat(60)}!`]: { type: "string" } };
const proto = (type: string) =>
  `syntax = "proto3"; message A { ${list(5000, (n) => `${type} f${n} = ${n + 1};`).join(" ")} }`;

const cases: readonly (readonly [name: string, type: SchemaType, old: unknown, current: unknown])[] = [
  ["deep lists", "avro", nest(4000, '{"type":"array","items":', '"int"', "}"), "int"],
  ["records that hold each other", "avro", records(50), records(51)],
  ["a recursive record of unions", "avro", unions(200), unions(201)],
  [
    "many symbols",
    "avro",
    { type: "enum", name: "A", symbols: list(9000, (n) => `a${n}`) },
    { type: "enum", name: "A", symbols: list(9000, (n) => `b${n}`) },
  ],
  ["unions that double at each step", "json-schema", doubling("string"), doubling("integer")],
  ["unions that multiply", "json-schema", products("r"), products("s")],
  ["deep items", "json-schema", nest(9000, '{"items":', "{}", "}"), {}],
  [
    "many properties",
    "json-schema",
    { properties: map(3000, (n) => [`p${n}`, { type: "string" }]) },
    { properties: map(3000, (n) => [`q${n}`, { type: "string" }]) },
  ],
  ["many values", "json-schema", { enum: list(9000, (n) => n) }, { enum: list(9000, (n) => n + 1) }],
  ["many patterns", "json-schema", patterns("y"), patterns("z")],
  [
    "patterns that never end",
    "json-schema",
    { properties: hostilePattern, patternProperties: { "^(a+)+$": {}, "(a|a)*$": {}, "^a?a?a?a?a?a?a?a*a*a*$": {} } },
    { properties: { b: {} }, additionalProperties: false },
  ],
  ["many fields", "protobuf", proto("int32"), proto("string")],
  ["deep messages", "protobuf", nest(9000, "message A{", "", "}"), "message A {}"],
  ["a text without an end", "protobuf", "/*".repeat(60_000), '"'.repeat(120_000)],
  ["long names", "protobuf", `package ${"a.".repeat(30_000)}b;`, `message A { ${"a.".repeat(50_000)}b x = 1; }`],
  ["a longer text than any contract", "avro", `"${"a".repeat(200_000)}"`, "int"],
];

const text = (schema: unknown) => (typeof schema === "string" && schema.length > 9 ? schema : JSON.stringify(schema));

/** Contracts whose comparison could take for ever: a name, the format, and two texts, to be compared both ways. */
export const contractBombs: readonly (readonly [name: string, type: SchemaType, old: string, current: string])[] =
  cases.map(([name, type, old, current]) => [name, type, text(old), text(current)]);
