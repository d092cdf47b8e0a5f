import { fromJson, type JsonObject, type Message, toBinary } from "@bufbuild/protobuf";
import { fileDesc, type GenMessage, messageDesc } from "@bufbuild/protobuf/codegenv2";
import { file_google_protobuf_struct, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

export type Order = Message<"com.example.Order"> & { id: string; qty: number; total: bigint };
export type Inner = Message<"com.example.Other.Inner"> & { x: string };
export type Tree = Message<"com.example.Tree"> & {
  children: Tree[];
  numbers: number[];
  names: { [key: string]: Tree };
  choice: { case: "text"; value: string } | { case: "child"; value: Tree } | { case: undefined; value?: undefined };
  json?: JsonObject;
};

function field(name: string, number: number, type: string, more: JsonObject = {}): JsonObject {
  return { name, number, type: `TYPE_${type}`, label: "LABEL_OPTIONAL", jsonName: name, ...more };
}

const repeated: JsonObject = { label: "LABEL_REPEATED" };
const tree: JsonObject = { typeName: ".com.example.Tree" };

const json: JsonObject = {
  name: "order.proto",
  package: "com.example",
  syntax: "proto3",
  dependency: ["google/protobuf/struct.proto"],
  messageType: [
    {
      name: "Order",
      field: [field("id", 1, "STRING"), field("qty", 2, "INT32"), field("total", 3, "INT64")],
      reservedRange: [
        { start: 4, end: 5 },
        { start: 9, end: 12 },
      ],
      reservedName: ["old"],
    },
    { name: "Other", nestedType: [{ name: "Inner", field: [field("x", 1, "STRING")] }] },
    {
      name: "Tree",
      field: [
        field("children", 1, "MESSAGE", { ...repeated, ...tree }),
        field("numbers", 2, "INT32", repeated),
        field("names", 3, "MESSAGE", { ...repeated, typeName: ".com.example.Tree.NamesEntry" }),
        field("text", 4, "STRING", { oneofIndex: 0 }),
        field("child", 5, "MESSAGE", { oneofIndex: 0, ...tree }),
        field("json", 6, "MESSAGE", { typeName: ".google.protobuf.Struct" }),
      ],
      nestedType: [
        {
          name: "NamesEntry",
          field: [field("key", 1, "STRING"), field("value", 2, "MESSAGE", tree)],
          options: { mapEntry: true },
        },
      ],
      oneofDecl: [{ name: "choice" }],
    },
  ],
};

// What protoc-gen-es writes into a generated file.
const bytes = toBinary(FileDescriptorProtoSchema, fromJson(FileDescriptorProtoSchema, json));
const file = fileDesc(Buffer.from(bytes).toString("base64"), [file_google_protobuf_struct]);

export const OrderSchema: GenMessage<Order> = messageDesc(file, 0);
export const InnerSchema: GenMessage<Inner> = messageDesc(file, 1, 0);
export const TreeSchema: GenMessage<Tree> = messageDesc(file, 2);
