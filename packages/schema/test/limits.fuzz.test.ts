import { isSluiceError, json } from "@sluice/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { avro } from "../src/avro/index.ts";
import { limited, union, versioned } from "../src/index.ts";
import { jsonSchema } from "../src/json-schema/index.ts";
import { protobuf } from "../src/protobuf/index.ts";
import { formatBombs } from "./format-bombs.ts";
import { TreeSchema } from "./formats-proto.ts";
import { bytes, hex, message } from "./formats-support.ts";

/** `SLUICE_FUZZ_RUNS=100000` for a long run. */
const numRuns = Number(process.env["SLUICE_FUZZ_RUNS"] ?? 1000);

const tree = avro({
  type: "record",
  name: "Tree",
  fields: [
    { name: "children", type: { type: "array", items: "Tree" } },
    { name: "map", type: { type: "map", values: ["null", "long", "string", "Tree"] } },
    { name: "amount", type: { type: "bytes", logicalType: "decimal", precision: 20, scale: 3 } },
    { name: "day", type: ["null", { type: "int", logicalType: "date" }] },
    { name: "kind", type: { type: "enum", name: "Kind", symbols: ["A", "B"] } },
    { name: "id", type: { type: "fixed", name: "Id", size: 16, logicalType: "uuid" } },
  ],
});
const leaf = {
  children: [],
  map: { a: 5n, b: "text", c: null },
  amount: "1.500",
  day: new Date(0),
  kind: "B",
  id: "550e8400-e29b-41d4-a716-446655440000",
};
const value = { ...leaf, children: [leaf, leaf], map: { ...leaf.map, d: leaf } };
const pbTree = protobuf(TreeSchema);
const shared = { "avro.tree": tree, "proto.tree": pbTree, note: z.object({ text: z.string() }) };
const codecs = {
  avro: tree,
  skipping: avro(
    {
      type: "record",
      name: "Tree",
      fields: [{ name: "kind", type: { type: "enum", name: "Kind", symbols: ["B"], default: "B" } }],
    },
    { writers: [tree.schemaText] },
  ),
  single: avro(tree.schemaText, { encoding: "single-object" }),
  protobuf: pbTree,
  json: limited(json()),
  union: union(shared).codec,
  versioned: versioned({
    versions: { 1: tree, 2: z.object({ text: z.string() }) },
    upcast: { 1: () => ({ text: "" }) },
  }).codec,
};
const text = JSON.stringify({ list: [1, { deep: ['a\\"', null, { x: true }] }], text: "x".repeat(50) });
const seeds = [
  tree.encode(value, message()),
  bytes(`c301${hex(avro(tree.schemaText, { encoding: "single-object" }).encode(value as never, message())).slice(4)}`),
  pbTree.encode(
    { children: [{ numbers: [1, 2, 3] }], names: { a: {} }, choice: { case: "text", value: "t" }, json: { a: [1] } },
    message(),
  ),
  Buffer.from(text),
].map((each) => Buffer.from(each as Uint8Array));

const edit = fc.record({ at: fc.nat(), bytes: fc.uint8Array({ maxLength: 12 }), drop: fc.nat({ max: 4 }) });
/** Of a codec: its own body with some bytes changed, another one's, or anything. */
const hostile = fc.constantFrom(...Object.keys(codecs)).chain((name) => {
  const own = Math.max(0, ["avro", "single", "protobuf", "json"].indexOf(name));
  const seed = fc.oneof(
    { weight: 3, arbitrary: fc.constant(own) },
    { weight: 1, arbitrary: fc.nat({ max: seeds.length - 1 }) },
  );
  const changed = fc.tuple(seed, fc.array(edit, { maxLength: 4 })).map(([index, edits]) =>
    edits.reduce(
      (body, { at, bytes: put, drop }) => {
        const start = at % (body.length + 1);
        return Buffer.concat([body.subarray(0, start), put, body.subarray(start + drop)]);
      },
      seeds[index] ?? Buffer.alloc(0),
    ),
  );
  const anything = fc.uint8Array({ maxLength: 200 }).map((each) => Buffer.from(each));
  return fc.tuple(fc.constant(name as keyof typeof codecs), fc.oneof(changed, changed, anything));
});
const headers = fc.record(
  {
    "message-type": fc.oneof(fc.constantFrom(...Object.keys(shared), "__proto__", "constructor"), fc.string()),
    "schema-version": fc.oneof(fc.constantFrom("1", "2", "3", "01"), fc.string()),
    "content-type": fc.constantFrom("application/json", "avro/binary", "application/x-protobuf", "", ";"),
  },
  { requiredKeys: [] },
);

test("hostile bodies and headers are read or refused", async () => {
  let read = 0;
  await fc.assert(
    fc.asyncProperty(hostile, headers, async ([name, body], given) => {
      try {
        await codecs[name].decode(body, message(given));
        read++;
      } catch (error) {
        // Core wraps what its own parser throws.
        const fine =
          isSluiceError(error, "INVALID_PAYLOAD") || error instanceof SyntaxError || error instanceof TypeError;
        if (!fine) throw new Error(`${name} threw something else`, { cause: error });
      }
    }),
    { numRuns },
  );
  expect(read).toBeGreaterThan(numRuns / 25);
});

// One schema for all of them: compiling takes longer than all the texts.
const byFormat = jsonSchema({
  type: "object",
  properties: Object.fromEntries(formatBombs.map(([format]) => [format, { type: "string", format }])),
});

// How soon, `npm run bench:bombs` says.
test.each(formatBombs)("hostile text ends for the format %s", async (format, accepted, texts) => {
  let valid = 0;
  for (const each of texts) if (!(await byFormat["~standard"].validate({ [format]: each })).issues) valid++;
  expect(valid).toBe(accepted);
});
