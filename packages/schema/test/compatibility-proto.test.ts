import { isSluiceError } from "@sluice/core";
import { compatible } from "@sluice/schema/compatibility";
import protobufjs from "protobufjs";
import { describe, expect, it } from "vitest";
import { parseProto } from "../src/compatibility/protobuf/parse.ts";
import { schemaPairs } from "./pairs/index.ts";

const everything = `
// A comment; with { signs }
syntax = "proto2";
package com.example;
import public "google/protobuf/timestamp.proto";
option java_package = "com.example"; /* another
comment */
option (custom) = { a: "}" b: { c: 1 } };
message Order {
  option deprecated = true;
  required string id = 1 [default = "a;]", (custom).x = { a: 1 }];
  optional Line line = 0x2;
  repeated .com.example.Order.Line more = 3;
  map<string, Status> map = 4;
  oneof choice { option (x) = true; int32 a = 5; string b = 7; }
  optional group Box = 6 { optional int32 n = 1; }
  message Line { optional Status s = 1; enum Status { A = 0 [deprecated = true]; B = -1; reserved 5 to max; } }
  enum Status { option allow_alias = true; X = 0; }
  extensions 100 to 200;
  reserved 9, 11 to 13; reserved "old";
  extend Order { optional int32 extra = 101; }
  optional google.protobuf.Timestamp at = 14;
  optional string message = 15;
  ;
}
service Orders { rpc Get (Order) returns (stream Order) { option x = "}"; } }
extend Order { optional int32 other = 102; }
`;

/** What a parser for code generation finds in the same text. */
function oracle(text: string): unknown {
  const { root, package: name } = protobufjs.parse(text, new protobufjs.Root(), { keepCase: true });
  const found: unknown[] = [];
  const visit = (space: protobufjs.NamespaceBase): void => {
    for (const each of space.nestedArray) {
      if (each instanceof protobufjs.Type) {
        const fields = each.fieldsArray
          .filter((field) => !field.name.includes("."))
          .map(({ name: own, id }) => `${own.toLowerCase()} ${id}`);
        found.push([each.fullName.slice(name === null || name === undefined ? 1 : name.length + 2), fields.toSorted()]);
      }
      if (each instanceof protobufjs.Namespace) visit(each);
    }
  };
  visit(root);
  return found;
}

function outline(text: string): unknown {
  return [...parseProto(text, "it").messages].map(([name, { fields }]) => [
    name,
    [...fields.values()].map((field) => `${field.name.toLowerCase()} ${field.number}`).toSorted(),
  ]);
}

describe("reading .proto files", () => {
  it("finds what another parser finds", () => {
    const sorted = (found: unknown) => (found as readonly unknown[]).map((each) => JSON.stringify(each)).toSorted();
    expect(sorted(outline(everything))).toEqual(sorted(oracle(everything)));
    for (const { type, old } of schemaPairs.filter((pair) => pair.type === "protobuf")) {
      expect({ type, found: sorted(outline(old)) }).toEqual({ type, found: sorted(oracle(old)) });
    }
  });

  it("resolves names from the inside out", () => {
    const { messages } = parseProto(everything, "it");
    const types = [...(messages.get("Order")?.fields.values() ?? [])].map(
      ({ value }) => `${value.kind} ${value.identity}`,
    );
    expect(types).toEqual([
      "scalar text",
      "message Order.Line",
      "message Order.Line",
      "scalar varint",
      "scalar varint",
      "scalar text",
      "group Order.Box",
      "message google.protobuf.Timestamp",
      "scalar text",
    ]);
    expect(messages.get("Order")?.oneofs).toEqual(new Map([["choice", [5, 7]]]));
    expect(messages.get("Order")?.fields.get(1)?.label).toBe("required");
  });

  it.for([
    ["message A { int32 a = 1; int32 b = 1; }", "the number 1 is used a second time"],
    ["message A { int32 a; }", '"=" is missing before ";"'],
    ["message A {\n int32 a = 0; }", "line 2: the field a has no number"],
    ["message A {", "it ends too early"],
    ["message A {} message A {}", "A is defined a second time"],
    ["hello", '"hello" begins no statement'],
    ['import "x', "cannot stand there"],
    ["message A { map<string> a = 1; }", '"," is missing'],
  ] as const)("refuses %s", ([schema, message]) => {
    const check = () => compatible({ type: "protobuf", level: "BACKWARD", schema, against: [] });
    expect(check).toThrow(message);
    expect(check).toThrow(expect.toSatisfy((error) => isSluiceError(error, "CONFIG")));
  });

  it("says which field, and against which version", () => {
    const message = (type: string) => `syntax = "proto3"; message A { ${type} a = 1; message B { ${type} b = 7; } }`;
    const against = [message("int32"), message("string")];
    const { problems } = compatible({ type: "protobuf", level: "FULL_TRANSITIVE", schema: message("bytes"), against });
    const places = problems.map(({ path, direction, against: index }) => `${path} ${direction} ${index}`);
    expect(places).toEqual(["A.1 backward 0", "A.B.7 backward 0", "A.1 forward 0", "A.B.7 forward 0"]);
    expect(problems[0]?.reason).toBe('the field "a" was int32 and is bytes');
  });
});
