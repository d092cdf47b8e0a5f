import { createFileRegistry, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { avro } from "../src/avro/index.ts";
import { parseProto } from "../src/compatibility/protobuf/parse.ts";
import { jsonSchema } from "../src/json-schema/index.ts";
import { messageNames } from "../src/protobuf/message-names.ts";
import { protobuf } from "../src/protobuf/index.ts";
import { InnerSchema, OrderSchema, TreeSchema } from "./formats-proto.ts";
import { bytes, errorOf, hex, message } from "./formats-support.ts";

const line = { type: "record", name: "Line", namespace: "com.example", fields: [{ name: "qty", type: "int" }] };
const cart = {
  type: "record",
  name: "com.example.Cart",
  fields: [{ name: "lines", type: { type: "array", items: "com.example.Line" } }],
};

describe("what a registry gets, and how what it gives is read", () => {
  test("Avro: types by name are references", async () => {
    const codec = avro<{ lines: { qty: number }[] }>(cart, { types: [line] });
    expect(codec).toMatchObject({
      schemaType: "AVRO",
      name: "com.example.Cart",
      schemaText: JSON.stringify(cart),
      references: [{ name: "com.example.Line", schema: JSON.stringify(line) }],
    });
    const body = codec.write({ lines: [{ qty: 3 }] }, message());
    expect(hex(body)).toBe("020600");
    const wide = avro(cart, { types: [{ ...line, fields: [{ name: "qty", type: "double" }] }] });
    const read = wide.reader({ schemaType: "AVRO", schema: codec.schemaText, references: codec.references ?? [] });
    expect(read(body, message())).toEqual({ lines: [{ qty: 3 }] });
  });

  test("Avro: written with the latest version, when that is possible", async () => {
    const order = (...fields: object[]) => ({
      type: "record",
      name: "Order",
      fields: [{ name: "id", type: "string" }, ...fields],
    });
    const codec = avro<{ id: string }>(order());
    const latest = order({ name: "note", type: "string", default: "-" });
    const writer = codec.writer?.({ schemaType: "AVRO", schema: JSON.stringify(latest), references: [] });
    expect(hex(writer?.write({ id: "a" }, message()) ?? new Uint8Array())).toBe("0261022d");
    const strict = JSON.stringify(order({ name: "note", type: "string" }));
    expect(() => codec.writer?.({ schemaType: "AVRO", schema: strict, references: [] })).toThrow(
      /note: the writer does not have it/,
    );
  });

  test("JSON Schema: its title is its name, and its text is the schema", () => {
    const money = { $id: "https://example.com/money", type: "integer" };
    const schema = { title: "Order", type: "object", properties: { total: { $ref: "https://example.com/money" } } };
    const format = jsonSchema<{ total: number }>(schema, { references: [money] });
    expect(format).toMatchObject({
      schemaType: "JSON",
      contentType: "application/json",
      name: "Order",
      schemaText: JSON.stringify(schema),
      references: [{ name: "https://example.com/money", schema: JSON.stringify(money) }],
    });
    expect(Buffer.from(format.write({ total: 3 }, message())).toString()).toBe('{"total":3}');
    const read = format.reader({ schemaType: "JSON", schema: "{}", references: [] });
    expect(read(Buffer.from('{"total":4}'), message())).toEqual({ total: 4 });
    expect(() => read(Buffer.from("[".repeat(200)), message())).toThrow(/levels of nesting/);
  });

  test("Protobuf: .proto text that others can parse, and the place of the message in it", () => {
    expect(protobuf(OrderSchema)).toMatchObject({
      schemaType: "PROTOBUF",
      name: "com.example.Order",
      messageIndexes: [0],
      references: [],
    });
    expect(protobuf(InnerSchema).messageIndexes).toEqual([1, 0]);
    const { schemaText } = protobuf(TreeSchema);
    expect(schemaText).toBe(`syntax = "proto3";
package com.example;
import "google/protobuf/struct.proto";

message Order {
  reserved 4, 9 to 11;
  reserved "old";
  string id = 1;
  int32 qty = 2;
  int64 total = 3;
}
message Other {
  message Inner {
    string x = 1;
  }
}
message Tree {
  repeated com.example.Tree children = 1;
  repeated int32 numbers = 2;
  map<string, com.example.Tree> names = 3;
  google.protobuf.Struct json = 6;
  oneof choice {
    string text = 4;
    com.example.Tree child = 5;
  }
}
`);
    expect([...parseProto(schemaText, "it").messages.keys()]).toEqual(["Order", "Other", "Other.Inner", "Tree"]);
    expect(protobuf(OrderSchema, { schemaText: "mine" }).schemaText).toBe("mine");
  });

  test("Protobuf: proto2 and enums", () => {
    const plain = messageOf("google.protobuf.FieldDescriptorProto");
    const text = protobuf(plain).schemaText;
    expect(text).toContain('syntax = "proto2";\npackage google.protobuf;');
    expect(text).toContain("  optional google.protobuf.FieldDescriptorProto.Label label = 4;");
    expect(text).toContain("    LABEL_REPEATED = 3;");
    expect(text).toContain("  optional bool lazy = 5 [default = false];");
    expect(text).toContain("  required string name_part = 1;");
    expect(parseProto(text, "it").messages.get("UninterpretedOption.NamePart")?.fields.get(1)?.label).toBe("required");
    expect(messageNames(text).indexesOf("google.protobuf.UninterpretedOption.NamePart")).toEqual(plainIndexes(plain));
  });

  test("Protobuf: the writer's file says which message it is", async () => {
    const codec = protobuf(OrderSchema);
    const schema = `// message NotHere { }
      syntax = "proto3"; package com.example; /* message Nor { } */
      option note = "message Here {";
      message First { string message = 1; enum E { A = 0; } message Second { } oneof o { string a = 2; } message Third { } }
      message Order { string id = 1; }`;
    const read = codec.reader({ schemaType: "PROTOBUF", schema, references: [] });
    expect(read(bytes("0a036f2d311003"), message(), [1])).toMatchObject({ id: "o-1" });
    expect((await errorOf(() => read(bytes(""), message(), [0]))).message).toContain("it is a com.example.First");
    expect((await errorOf(() => read(bytes(""), message(), [0, 1]))).message).toContain(
      "it is a com.example.First.Third",
    );
    expect((await errorOf(() => read(bytes(""), message()))).code).toBe("INVALID_PAYLOAD");
    expect((await errorOf(() => read(bytes(""), message(), [7, 7]))).message).toContain("there is no message 7.7");
    expect(codec.writer?.({ schemaType: "PROTOBUF", schema, references: [] }).messageIndexes).toEqual([1]);
    expect(() => protobuf(TreeSchema).writer?.({ schemaType: "PROTOBUF", schema, references: [] })).toThrow(
      "has no message com.example.Tree",
    );
    const base64 = Buffer.from(toBinary(FileDescriptorProtoSchema, OrderSchema.file.proto)).toString("base64");
    const other = codec.reader({ schemaType: "PROTOBUF", schema: base64, references: [] });
    expect(other(bytes("0a036f2d311003"), message(), [0])).toMatchObject({ id: "o-1" });
    expect((await errorOf(() => other(bytes(""), message(), [1, 0]))).message).toContain(
      "it is a com.example.Other.Inner",
    );
  });
});

function messageOf(typeName: string) {
  const found = createFileRegistry(FileDescriptorSetSchema.file.proto, () => undefined).getMessage(typeName);
  if (!found) throw new Error(`no ${typeName}`);
  return found;
}

function plainIndexes(message: ReturnType<typeof messageOf>) {
  const target = message.file.messages.findIndex(({ name }) => name === "UninterpretedOption");
  return [target, 0];
}
