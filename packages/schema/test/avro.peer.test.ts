import avsc from "avsc";
import { describe, expect, test } from "vitest";
import { avro, type AvroSchema } from "../src/avro/index.ts";
import { bytes, hex, message } from "./formats-support.ts";

// What avsc itself does right, ours must do alike: everything but longs and text that is not UTF-8.
const inner = {
  type: "record",
  name: "Inner",
  fields: [
    { name: "flag", type: "boolean" },
    { name: "data", type: "bytes" },
  ],
};
const everything = {
  type: "record",
  name: "Everything",
  namespace: "com.example",
  fields: [
    { name: "i", type: "int" },
    { name: "f", type: "float" },
    { name: "d", type: "double" },
    { name: "s", type: "string" },
    { name: "e", type: { type: "enum", name: "E", symbols: ["A", "B", "C"] } },
    { name: "x", type: { type: "fixed", name: "X", size: 3 } },
    { name: "list", type: { type: "array", items: inner } },
    { name: "map", type: { type: "map", values: ["null", "Inner"] } },
    { name: "u", type: ["null", "int", "string"] },
    { name: "w", type: ["float", "double", "Inner"] },
    { name: "rest", type: ["null", "Everything"] },
  ],
};
const wider = {
  ...everything,
  fields: [
    { name: "d", type: "double" },
    { name: "added", type: ["null", "string"], default: null },
    { name: "i", type: "double" },
    { name: "f", type: "double" },
    { name: "s", type: "bytes" },
    { name: "e", type: { type: "enum", name: "E", symbols: ["C", "D"], default: "D" } },
    { name: "u", type: ["null", "int", "string"] },
    { name: "list", type: { type: "array", items: { ...inner, fields: [inner.fields[1]] } } },
    { name: "rest", type: ["null", "Everything"] },
  ],
};

/** Without avsc's classes. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null || Buffer.isBuffer(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]));
}

function pairs(schema: AvroSchema, count: number): readonly { value: unknown; body: Buffer }[] {
  const type = avsc.Type.forSchema(structuredClone(schema) as avsc.Schema);
  return Array.from({ length: count }, () => {
    const random: unknown = type.random();
    const body = type.toBuffer(random);
    return { value: plain(type.fromBuffer(body)), body };
  });
}

describe("avsc writes, we read, and the other way round", () => {
  test.each([everything, inner, ["null", everything], { type: "map", values: { type: "array", items: "double" } }])(
    "%#",
    (schema) => {
      const codec = avro(schema as AvroSchema);
      for (const { value, body } of pairs(schema as AvroSchema, 200)) {
        expect(codec.decode(body, message())).toEqual(value);
        expect(hex(codec.encode(value, message()))).toBe(hex(body));
      }
    },
  );

  test("as another schema has it", () => {
    const codec = avro(wider, { writers: [everything] });
    const reader = avsc.Type.forSchema(structuredClone(wider) as avsc.Schema);
    const resolver = reader.createResolver(avsc.Type.forSchema(structuredClone(everything) as avsc.Schema));
    for (const { body } of pairs(everything, 200)) {
      expect(codec.decode(body, message())).toEqual(plain(reader.fromBuffer(body, resolver)));
    }
  });

  test("fingerprints of canonical forms", () => {
    const order =
      '{"type":"record","namespace":"com.example","name":"Order","doc":"d","fields":[{"name":"id","type":{"type":"string"}},{"type":"int","name":"qty","default":1}]}';
    const { canonicalText } = avro(order);
    expect(canonicalText).toBe(
      '{"name":"com.example.Order","type":"record","fields":[{"name":"id","type":"string"},{"name":"qty","type":"int"}]}',
    );
    expect(
      avsc.Type.forSchema(JSON.parse(order) as avsc.Schema)
        .fingerprint()
        .toString("hex"),
    ).toBe("312b5b0f76ce2682e2c7a35da4c09c04");
    expect(hex(avro(order, { encoding: "single-object" }).encode({ id: "o-1", qty: 3 }, message()))).toBe(
      "c301f83016e53318deb9066f2d3106",
    );
  });
});

test("blocks with their size in bytes are read, however they are cut", () => {
  const codec = avro<number[]>({ type: "array", items: "int" });
  // Three items in a block of −2 with its size, an empty rest, and one item in a block of 1.
  expect(codec.decode(bytes("03 04 02 04 02 06 00"), message())).toEqual([1, 2, 3]);
});
