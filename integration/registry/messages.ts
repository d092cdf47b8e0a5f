import { fromJson, type Message, toBinary } from "@bufbuild/protobuf";
import { fileDesc, type GenMessage, messageDesc } from "@bufbuild/protobuf/codegenv2";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

type Inner = Message<"com.example.Other.Inner"> & { x: string };

const descriptor = fromJson(FileDescriptorProtoSchema, {
  name: "order.proto",
  package: "com.example",
  syntax: "proto3",
  messageType: [
    { name: "Order" },
    {
      name: "Other",
      nestedType: [
        {
          name: "Inner",
          field: [{ name: "x", number: 1, type: "TYPE_STRING", label: "LABEL_OPTIONAL", jsonName: "x" }],
        },
      ],
    },
  ],
});

/** As protoc-gen-es would make it: the first message of the second message of the file. */
export const InnerSchema: GenMessage<Inner> = messageDesc(
  fileDesc(Buffer.from(toBinary(FileDescriptorProtoSchema, descriptor)).toString("base64")),
  1,
  0,
);
