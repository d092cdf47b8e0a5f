import { topic } from "@sluice/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { avro, type AvroCodec } from "../src/avro/index.ts";
import { bytes, errorOf, hex, message } from "./formats-support.ts";

const Order = {
  type: "record",
  name: "Order",
  namespace: "com.example",
  fields: [
    { name: "id", type: "string" },
    { name: "qty", type: "int" },
  ],
};
const order = { id: "o-1", qty: 3 };

describe("bytes that other implementations write", () => {
  test("a record", () => {
    const codec = avro<typeof order>(Order);
    expect(codec.contentType).toBe("application/vnd.apache.avro");
    expect(hex(codec.encode(order, message()))).toBe("066f2d3106");
    expect(codec.decode(bytes("066f2d3106"), message())).toEqual(order);
  });

  test("single-object encoding", () => {
    const codec = avro<typeof order>(Order, { encoding: "single-object" });
    expect(hex(codec.encode(order, message()))).toBe("c301f83016e53318deb9066f2d3106");
    expect(codec.decode(bytes("c301f83016e53318deb9066f2d3106"), message())).toEqual(order);
  });

  test("logical types", () => {
    const schema = {
      type: "record",
      name: "D",
      fields: [
        { name: "amount", type: { type: "bytes", logicalType: "decimal", precision: 9, scale: 2 } },
        { name: "at", type: { type: "long", logicalType: "timestamp-micros" } },
        { name: "id", type: { type: "string", logicalType: "uuid" } },
        { name: "day", type: { type: "int", logicalType: "date" } },
      ],
    };
    const id = "550e8400-e29b-41d4-a716-446655440000";
    const value = { amount: "12.34", at: 1522900584000000n, id, day: new Date("2018-04-05") };
    const codec = avro(schema);
    const expected = `0404d280a8b3c5bdc4b40548${Buffer.from(id).toString("hex")}b49302`;
    expect(hex(codec.encode(value, message()))).toBe(expected);
    expect(codec.decode(bytes(expected), message())).toEqual(value);
  });

  test.each([
    [1n, "02"],
    [9007199254740990n, "fcffffffffffff1f"],
    [-4503599627370497n, "8180808080808010"],
    [-9007199254740989n, "f9ffffffffffff1f"],
    [9223372036854775807n, "feffffffffffffffff01"],
    [-9223372036854775808n, "ffffffffffffffffff01"],
  ])("long %d is %s", (value, expected) => {
    const codec = avro<bigint>("long");
    expect(hex(codec.encode(value, message()))).toBe(expected);
    expect(codec.decode(bytes(expected), message())).toBe(value);
    const asDouble = avro<number>("double", { writers: ["long"] });
    expect(asDouble.decode(bytes(expected), message())).toBe(Number(value));
  });
});

test.each([
  "long",
  { type: "long" },
  { type: { type: "long" } },
  { type: "long", logicalType: "date" },
  { type: "long", logicalType: "timestamp-micros" },
])("a long is exact however the schema writes it: %j", (schema) => {
  const codec = avro<bigint>(schema);
  expect(hex(codec.encode(-4503599627370497n, message()))).toBe("8180808080808010");
  expect(codec.decode(bytes("8180808080808010"), message())).toBe(-4503599627370497n);
  expect(codec.canonicalText).toBe('"long"');
});

test.each([0, -1, 9007199254740991, -9007199254740991])("as numbers, longs are exact: %d", (value) => {
  const codec = avro<number>("long", { longs: "number" });
  const body = hex(avro<bigint>("long").encode(BigInt(value), message()));
  expect(hex(codec.encode(value, message()))).toBe(body);
  expect(codec.decode(bytes(body), message())).toBe(value);
});

test.each([2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)])("as numbers, longs are refused: %d", (value) => {
  const codec = avro<number>("long", { longs: "number" });
  const body = hex(avro<bigint>("long").encode(value, message()));
  expect(() => codec.decode(bytes(body), message())).toThrow(/beyond ±\(2\^53 − 1\); read longs as bigint/);
  expect(() => codec.encode(Number(value), message())).toThrow(/is not long/);
});

test("every long and every safe integer comes back as it was", () => {
  const codec = avro<bigint>("long");
  const numbers = avro<number>("long", { longs: "number" });
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.maxSafeInteger(), (long, number) => {
      expect(codec.decode(Buffer.from(hex(codec.encode(long, message())), "hex"), message())).toBe(long);
      expect(numbers.decode(bytes(hex(numbers.encode(number, message()))), message())).toBe(number);
    }),
  );
});

describe("what does not fit", () => {
  test("is refused with the path, when it is written", async () => {
    const codec = avro({
      type: "record",
      name: "Cart",
      fields: [{ name: "items", type: { type: "array", items: Order } }],
    });
    const error = await errorOf(() => codec.encode({ items: [order, { id: "o-2", qty: "many" }] }, message()));
    expect(error.code).toBe("INVALID_PAYLOAD");
    expect(error.issues).toEqual([{ path: "items.1.qty", message: "text is not int" }]);
    expect(error.message).toBe(
      'avro: message m-1 of topic "orders" does not fit its Avro schema: items.1.qty: text is not int',
    );
  });

  test.each([
    ["cut off", "066f2d31", "qty: the body ends too early"],
    ["longer than the value", "066f2d310600", "1 bytes behind the value"],
    ["text that is not UTF-8", "06ff2d3106", "id: text that is not UTF-8"],
    ["a length beyond the body", "fcffffffffffff1f6f", "id: a length of 9007199254740990 bytes where 1 are left"],
    ["a negative length", "016f2d3106", "id: a length of -1 bytes where 4 are left"],
    ["an int of more than 32 bits", "066f2d318080808010", "qty: a number of more than 32 bits"],
    ["a number of more than 64 bits", "ffffffffffffffffffff01", "id: a number of more than 64 bits"],
  ])("is refused with the path, when it is read: %s", async (_, body, reason) => {
    const error = await errorOf(() => avro(Order).decode(bytes(body), message()));
    expect(error.code).toBe("INVALID_PAYLOAD");
    expect(error.message).toBe(`avro: message m-1 of topic "orders" cannot be read: ${reason}`);
  });

  test("half a surrogate pair is refused instead of written", async () => {
    const error = await errorOf(() => avro<string>("string").encode("\ud800", message()));
    expect(error.message).toContain("text that is not UTF-8");
    expect(hex(avro<string>("string").encode("한국", message()))).toBe("0ced959ceab5ad");
  });

  test("decimals are exact or refused", async () => {
    const codec = avro<string>({ type: "bytes", logicalType: "decimal", precision: 4, scale: 2 } as never);
    for (const [text, written] of [
      ["0.00", "0200"],
      ["-0.01", "02ff"],
      ["1.28", "040080"],
      ["99.99", "04270f"],
      ["-99.99", "04d8f1"],
    ] as const) {
      expect(hex(codec.encode(text, message()))).toBe(written);
      expect(codec.decode(bytes(written), message())).toBe(text);
    }
    for (const wrong of ["100.00", "0.001", "1e1", "", "1.", 1 as never]) {
      expect((await errorOf(() => codec.encode(wrong, message()))).code).toBe("INVALID_PAYLOAD");
    }
    expect((await errorOf(() => codec.decode(bytes("042710"), message()))).message).toContain("more than 4 digits");
  });
});

describe("reader and writer schemas", () => {
  const newer = {
    ...Order,
    namespace: "com.example.v2",
    fields: [
      { name: "note", type: ["null", "string"], default: null },
      { name: "count", type: "long", aliases: ["qty"] },
      { name: "id", type: "string" },
      { name: "tags", type: { type: "array", items: "string" }, default: ["new"] },
    ],
  };

  test("order, names, aliases, promotions and defaults", () => {
    const codec = avro(newer, { writers: [Order] });
    const value = codec.decode(bytes("066f2d3106"), message()) as object;
    expect(value).toEqual({ note: null, count: 3n, id: "o-1", tags: ["new"] });
    expect(Object.keys(value)).toEqual(["note", "count", "id", "tags"]);
    expect(
      avro({ ...Order, fields: [{ name: "qty", type: "double" }] }, { writers: [Order] }).decode(
        bytes("066f2d3106"),
        message(),
      ),
    ).toEqual({ qty: 3 });
  });

  test("single-object finds the writer by its fingerprint", async () => {
    const codec = avro(newer, { encoding: "single-object", writers: [Order] });
    const value = { note: "n", count: 1n, id: "x", tags: [] };
    expect(codec.decode(bytes("c301f83016e53318deb9066f2d3106"), message())).toMatchObject({ count: 3n, id: "o-1" });
    expect(codec.decode(bytes(hex(codec.encode(value, message()))), message())).toEqual(value);
    const error = await errorOf(() => codec.decode(bytes("c301000000000000000000"), message()));
    expect(error.message).toMatch(
      /written with schema 0{16}; known are [0-9a-f]{16}, b9de1833e51630f8; add the schema to writers/,
    );
    expect((await errorOf(() => codec.decode(bytes("066f2d3106"), message()))).message).toContain(
      "not in single-object",
    );
  });

  test("what cannot be resolved is refused when the codec is made", async () => {
    const without = { ...Order, fields: [...Order.fields, { name: "more", type: "string" }] };
    const error = await errorOf(() => avro(without, { writers: [Order] }));
    expect(error).toMatchObject({ code: "CONFIG" });
    expect(error.message).toContain("more: the writer does not have it, and it has no default");
    const millis = { type: "long", logicalType: "timestamp-millis" };
    const micros = { type: "long", logicalType: "timestamp-micros" };
    expect((await errorOf(() => avro(micros, { writers: [millis] }))).message).toContain(
      "timestamp-millis cannot be read as timestamp-micros",
    );
    expect((await errorOf(() => avro("int", { writers: ["long"] }))).message).toContain("long cannot be read as int");
    expect((await errorOf(() => avro("nothing"))).code).toBe("CONFIG");
  });

  test("unions, enums and fixed", () => {
    const suit = (symbols: string[], more: object = {}) => ({ type: "enum", name: "Suit", symbols, ...more });
    const codec = avro<string>(suit(["A", "B"], { default: "A" }), { writers: [suit(["B", "C"])] });
    expect([codec.decode(bytes("00"), message()), codec.decode(bytes("02"), message())]).toEqual(["B", "A"]);
    expect(() => avro(suit(["A", "B"]), { writers: [suit(["B", "C"])] }).decode(bytes("02"), message())).toThrow(
      /symbol "C" is unknown/,
    );
    expect(avro(["null", "string"], { writers: ["string"] }).decode(bytes("0261"), message())).toBe("a");
    expect(avro("string", { writers: [["null", "string"]] }).decode(bytes("020261"), message())).toBe("a");
    expect(() => avro("string", { writers: [["null", "string"]] }).decode(bytes("00"), message())).toThrow(
      /null cannot be read/,
    );
    const again = (codec: AvroCodec<unknown>, value: unknown) =>
      codec.decode(bytes(hex(codec.encode(value, message()))), message());
    const both = ["int", { type: "long" }];
    expect([again(avro(both), 5n), again(avro(both), 5)]).toEqual([5n, 5]);
    expect(again(avro(both, { longs: "number" }), { long: 5 })).toEqual({ long: 5 });
    expect(again(avro(["null", "long"], { longs: "number" }), 5)).toBe(5);
    expect(again(avro(["null", "string"], { unions: "always" }), { string: "a" })).toEqual({ string: "a" });
    expect(avro(["double", "int"]).decode(bytes("0206"), message())).toEqual({ int: 3 });
    const map = avro({ type: "map", values: "int" });
    const hostile = map.decode(bytes(`02 12 ${Buffer.from("__proto__").toString("hex")} 06 00`), message()) as object;
    expect(Object.getPrototypeOf(hostile)).toBe(Object.prototype);
    expect(Object.entries(hostile)).toEqual([["__proto__", 3]]);
  });

  test("recursive records, and a reader made for a writer that comes later", () => {
    const node = {
      type: "record",
      name: "Node",
      fields: [
        { name: "next", type: ["null", "Node"], default: null },
        { name: "n", type: "int" },
      ],
    };
    const wider = { ...node, fields: [node.fields[0], { name: "n", type: "long" }] };
    const value = { next: { next: null, n: 2 }, n: 1 };
    const body = avro(node).encode(value, message()) as Buffer;
    expect(avro(node).decode(body, message())).toEqual(value);
    expect(
      avro(wider).reader({ schemaType: "AVRO", schema: JSON.stringify(node), references: [] })(body, message()),
    ).toEqual({ next: { next: null, n: 2n }, n: 1n });
  });
});

test("it is a schema, too, and topics take their types from it", async () => {
  const codec = avro<{ id: string; qty: number }>(Order);
  const orders = topic("orders", { schema: codec, codec, key: ({ id }) => id });
  expect(orders.key?.(order)).toBe("o-1");
  expect(codec["~standard"].validate(order)).toEqual({ value: order });
  expect(codec["~standard"].validate({ id: 1 })).toEqual({
    issues: [
      { path: ["id"], message: "a number is not string" },
      { path: ["qty"], message: "undefined is not int" },
    ],
  });
  expect(codec.schemaText).toBe(JSON.stringify(Order));
  expect(codec.accepts?.("avro/binary")).toBe(true);
  expect(codec.accepts?.("application/json")).toBe(false);
});
