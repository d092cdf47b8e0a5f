import { fromJson, type JsonObject, type Message, toBinary } from "@bufbuild/protobuf";
import { fileDesc, type GenMessage, messageDesc } from "@bufbuild/protobuf/codegenv2";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

interface Spender {
  first: string;
  last: string;
  spent: bigint;
}
export type Customer1 = Message<"shop.v1.Customer"> & { name: string; spent: number };
export type Customer2 = Message<"shop.v2.Customer"> & Spender;
export type Customer3 = Message<"shop.v3.Customer"> & Spender & { note?: string };

function field(name: string, number: number, type: string, more: JsonObject = {}): JsonObject {
  return { name, number, type: `TYPE_${type}`, label: "LABEL_OPTIONAL", jsonName: name, ...more };
}

/** What protoc-gen-es writes into the generated file of a version. */
function customer<T extends Message>(version: number, field: JsonObject[], more: JsonObject = {}): GenMessage<T> {
  const [name, syntax] = [`customer${version}.proto`, "proto3"];
  const json = { name, package: `shop.v${version}`, syntax, messageType: [{ name: "Customer", field, ...more }] };
  const bytes = toBinary(FileDescriptorProtoSchema, fromJson(FileDescriptorProtoSchema, json));
  return messageDesc(fileDesc(Buffer.from(bytes).toString("base64")), 0);
}

const spender = [field("first", 1, "STRING"), field("last", 2, "STRING"), field("spent", 3, "INT64")];

export const Customer1Schema: GenMessage<Customer1> = customer(1, [
  field("name", 1, "STRING"),
  field("spent", 2, "INT32"),
]);
export const Customer2Schema: GenMessage<Customer2> = customer(2, spender);
export const Customer3Schema: GenMessage<Customer3> = customer(
  3,
  [...spender, field("note", 4, "STRING", { oneofIndex: 0, proto3Optional: true })],
  { oneofDecl: [{ name: "_note" }] },
);
