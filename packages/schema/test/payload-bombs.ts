import { json } from "@sluice/core";
import { avro } from "../src/avro/index.ts";
import { limited } from "../src/index.ts";
import { protobuf } from "../src/protobuf/index.ts";
import { TreeSchema } from "./formats-proto.ts";
import { bytes } from "./formats-support.ts";

const mega = 1024 * 1024;
const tree = avro({
  type: "record",
  name: "Tree",
  fields: [
    { name: "children", type: { type: "array", items: "Tree" } },
    { name: "names", type: { type: "map", values: "string" } },
  ],
});
const nulls = avro({ type: "array", items: "null" });
const skipped = avro(
  { type: "record", name: "R", fields: [] },
  {
    writers: [{ type: "record", name: "R", fields: [{ name: "a", type: { type: "array", items: "null" } }] }],
  },
);
const readJson = limited(json());
const readTree = protobuf(TreeSchema);

/** Varint of a length, then the bytes: field 1 of Protobuf's Tree, again and again. */
function nested(levels: number): Buffer {
  let body = Buffer.alloc(0);
  for (let level = 0; level < levels; level++) body = Buffer.concat([Buffer.from([0x0a]), varint(body.length), body]);
  return body;
}

function varint(value: number): Buffer {
  const out: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    out.push((rest % 128) | (rest > 127 ? 0x80 : 0));
    if (rest <= 127) return Buffer.from(out);
  }
}

/** Bodies of some bytes that would take memory or time without end: a name, who refuses it, the body, and why it is refused. */
export const payloadBombs: readonly (readonly [
  string,
  { decode(body: Uint8Array, message: never): unknown },
  () => Buffer,
  string,
])[] = [
  [
    "JSON: too long",
    readJson,
    () => Buffer.alloc(9 * mega, 0x20),
    "the body has 9437184 bytes, above the limit of 8388608",
  ],
  ["JSON: deep arrays", readJson, () => Buffer.from("[".repeat(4 * mega)), "more than 100 levels of nesting"],
  ["JSON: deep objects", readJson, () => Buffer.from('{"a":'.repeat(mega)), "more than 100 levels of nesting"],
  ["JSON: many elements", readJson, () => Buffer.from(`[${"0,".repeat(4 * mega - 8)}0]`), "more than 200000 elements"],
  [
    "JSON: many empty objects",
    readJson,
    () => Buffer.from(`[${"{},".repeat(2 * mega)}{}]`),
    "more than 200000 elements",
  ],
  [
    "Avro: an array of 2^53 nulls",
    nulls,
    () => bytes("feffffffffffff1f00"),
    "elements or more, above the limit of 200000",
  ],
  [
    "Avro: the same, in a field that the reader skips",
    skipped,
    () => bytes("feffffffffffff1f00"),
    "a: 9007199254740991 elements",
  ],
  ["Avro: a block that says it has −1 bytes", nulls, () => bytes("010100"), "a length of -1 bytes"],
  ["Avro: blocks without end", nulls, () => Buffer.concat([Buffer.alloc(8 * mega, 0x02)]), "above the limit of 200000"],
  ["Avro: an array of more items than the body has bytes", tree, () => bytes("80897a 00"), "elements or more"],
  [
    "Avro: text of 2^53 bytes",
    tree,
    () => bytes("00 02 feffffffffffff1f"),
    "names: a length of 9007199254740991 bytes where 0 are left",
  ],
  ["Avro: deep records", tree, () => Buffer.alloc(4 * mega, 0x02), "more than 100 levels of nesting"],
  [
    "Avro: a decimal of 8 MiB",
    avro({ type: "bytes", logicalType: "decimal", precision: 30 } as never),
    () => Buffer.concat([varint(16 * mega - 16), Buffer.alloc(8 * mega - 8, 0x7f)]),
    "a number of more than 30 digits",
  ],
  ["Protobuf: deep messages", readTree, () => nested(2000), "more than 100 levels of nesting"],
  [
    "Protobuf: many empty messages",
    readTree,
    () => Buffer.alloc(8 * mega, Buffer.from([0x0a, 0x00])),
    "more than 200000 elements",
  ],
  [
    "Protobuf: a packed list",
    readTree,
    () => Buffer.concat([Buffer.from([0x12]), varint(8 * mega - 8), Buffer.alloc(8 * mega - 8, 1)]),
    "numbers: more than 200000 elements",
  ],
  [
    "Protobuf: many map entries",
    readTree,
    () => Buffer.alloc(8 * mega, Buffer.from([0x1a, 0x00])),
    "more than 200000 elements",
  ],
  [
    "Protobuf: many unknown fields",
    readTree,
    () => Buffer.alloc(8 * mega, Buffer.from([0x78, 0x01])),
    "more than 200000 elements",
  ],
  [
    "Protobuf: nested groups that nobody knows",
    readTree,
    () => Buffer.alloc(8 * mega, 0x7b),
    "more than 100 levels of nesting",
  ],
  ["Protobuf: a length of 4 GiB", readTree, () => bytes("0affffffff0f"), "a length of 4294967295 bytes"],
  [
    "Protobuf: a JSON field that is merged again and again",
    readTree,
    () => Buffer.alloc(mega, Buffer.from([0x32, 0x00])),
    "field json is there more than 16 times",
  ],
];
