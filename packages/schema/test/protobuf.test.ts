import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { topic } from "@sluice/core";
import { describe, expect, expectTypeOf, test } from "vitest";
import { protobuf } from "../src/protobuf/index.ts";
import { InnerSchema, type Order, OrderSchema, TreeSchema } from "./formats-proto.ts";
import { bytes, errorOf, hex, message } from "./formats-support.ts";

const order = { id: "o-1", qty: 3 };

describe("bytes that other implementations write", () => {
  test("a message, a nested one, and the largest int64", () => {
    expect(hex(protobuf(OrderSchema).encode(order, message()))).toBe("0a036f2d311003");
    expect(hex(protobuf(InnerSchema).encode({ x: "hi" }, message()))).toBe("0a026869");
    const most = { ...order, total: 9223372036854775807n };
    expect(hex(protobuf(OrderSchema).encode(most, message()))).toBe("0a036f2d31100318ffffffffffffffff7f");
    const read = protobuf(OrderSchema).decode(bytes("0a036f2d31100318ffffffffffffffff7f"), message());
    expect(read).toMatchObject(most);
    expectTypeOf(read).toEqualTypeOf<Order>();
  });

  test("content types", () => {
    const codec = protobuf(OrderSchema);
    expect(codec.contentType).toBe("application/x-protobuf");
    expect(codec.accepts?.("application/protobuf; proto=com.example.Order")).toBe(true);
    expect(codec.accepts?.("application/json")).toBe(false);
  });
});

test("unknown fields are kept and written again", () => {
  const codec = protobuf(OrderSchema);
  const body = bytes("0a036f2d31 1003 7a0568656c6c6f 8001 07");
  const read = codec.decode(body, message());
  expect(read.$unknown).toHaveLength(2);
  expect(hex(codec.encode(read, message()))).toBe(body.toString("hex"));
});

test("plain objects and messages are published, and types come from the descriptor", () => {
  const codec = protobuf(OrderSchema);
  const orders = topic("orders", { schema: codec, codec, key: ({ id }) => id });
  expectTypeOf<NonNullable<typeof orders.types>["output"]>().toEqualTypeOf<Order>();
  const made = create(OrderSchema, order);
  expect(codec["~standard"].validate(made)).toEqual({ value: made });
  expect(codec["~standard"].validate(order)).toEqual({ value: made });
});

test("a message that was read and then changed is checked again", async () => {
  const codec = protobuf(OrderSchema);
  const read = codec.decode(bytes("0a036f2d311003"), message());
  expect(codec["~standard"].validate(read)).toEqual({ value: read });
  read.qty = 1.5;
  expect(codec["~standard"].validate(read)).toHaveProperty("issues");
  expect((await errorOf(() => codec.encode(read, message()))).issues[0]?.path).toBe("qty");
});

describe("what does not fit", () => {
  test.each([
    ["a number for text", { id: 5 }, "id: a number is not text"],
    ["half a surrogate pair", { id: "\ud800" }, "id: text has half a surrogate pair"],
    ["a number for an int64", { total: 5 }, "total: a number is not a bigint"],
    ["an int64 of 65 bits", { total: 2n ** 63n }, "total: a bigint does not fit in a signed integer"],
    ["a fraction", { qty: 1.5 }, "qty: a number is not an integer of 32 bits"],
    ["another message", create(InnerSchema), "com.example.Other.Inner is not a com.example.Order"],
    ["no object", "text", "text is not a com.example.Order"],
    ["nothing", null, "null is not a com.example.Order"],
  ])("is refused when it is published: %s", async (_, value, reason) => {
    const codec = protobuf(OrderSchema);
    const error = await errorOf(() => codec.encode(value as never, message()));
    expect(error.code).toBe("INVALID_PAYLOAD");
    expect(error.message).toContain(reason);
    expect(codec["~standard"].validate(value)).toHaveProperty("issues");
  });

  test("paths of lists, maps and oneofs", async () => {
    const value = {
      children: [{}, { numbers: [1, "2"] }],
      names: { a: { choice: { case: "text", value: 1 } } },
      choice: { case: "child", value: { numbers: [2 ** 31] } },
      json: { fine: [1, "x", null] },
    };
    const error = await errorOf(() => protobuf(TreeSchema).encode(value as never, message()));
    expect(error.issues.map(({ path }) => path)).toEqual([
      "children.1.numbers.1",
      "names.a.choice",
      "choice.numbers.0",
    ]);
  });

  test.each([
    ["cut off", "0a036f2d", "id: a length of 3 bytes where 2 are left"],
    ["a length of 4 GiB", "0affffffff0f", "id: a length of 4294967295 bytes where 0 are left"],
    ["text that is not UTF-8", "0a01ff", "not valid for encoding utf-8"],
    ["wire type 7", "0f", "id: wire type 7"],
    ["an endless number", "10ffffffffffffffffffffffff", "qty: a number of more than 64 bits"],
    ["an end of no group", "0c", "id: wire type 4"],
    ["a group without an end", "1b0801", "a group that does not end"],
  ])("is refused when it is read: %s", async (_, body, reason) => {
    const error = await errorOf(() => protobuf(OrderSchema).decode(bytes(body), message()));
    expect(error.code).toBe("INVALID_PAYLOAD");
    expect(error.message).toContain('protobuf: message m-1 of topic "orders" cannot be read as com.example.Order: ');
    expect(error.message).toContain(reason);
  });
});

test("everything that a descriptor can hold comes back", () => {
  const value = create(TreeSchema, {
    children: [{ numbers: [1, -1, 300] }],
    names: { a: {}, __proto: { numbers: [] } },
    choice: { case: "child", value: { choice: { case: "text", value: "t" } } },
    json: { list: [1, { deep: null }] },
  });
  const codec = protobuf(TreeSchema);
  const body = codec.encode(value, message()) as Uint8Array;
  expect(hex(body)).toBe(hex(toBinary(TreeSchema, value)));
  expect(codec.decode(body, message())).toEqual(fromBinary(TreeSchema, body));
});
