import { toBinary } from "@bufbuild/protobuf";
import { bytes, type Codec, isSluiceError, json, type StandardSchema, type WireMessage } from "@sluice/core";
import { limited, union, versioned } from "@sluice/schema";
import { avro } from "@sluice/schema/avro";
import { compatible } from "@sluice/schema/compatibility";
import { jsonSchema } from "@sluice/schema/json-schema";
import { protobuf } from "@sluice/schema/protobuf";
import { readSchemaId } from "@sluice/schema/registry";
import { Chance } from "../chance.ts";
import { protos } from "../inside.ts";
import { check, sample, type Sample, type Target, typed } from "../target.ts";
import { malformed, wireOf } from "./core.ts";

export const orderSchema: { readonly fields: readonly object[] } & Readonly<Record<string, unknown>> = {
  type: "record",
  name: "Order",
  namespace: "com.example",
  fields: [
    { name: "id", type: "string" },
    { name: "qty", type: "int" },
    { name: "total", type: { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 } },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
    { name: "note", type: ["null", "string"], default: null },
    { name: "tags", type: { type: "array", items: "string" } },
    { name: "by", type: { type: "map", values: ["long", "string", "null"] } },
  ],
};
const nestedSchema = {
  type: "record",
  name: "Node",
  fields: [
    { name: "next", type: ["null", "Node"] },
    { name: "all", type: { type: "array", items: "Node" } },
    { name: "nothing", type: { type: "array", items: "null" } },
  ],
};
const order = { id: "o-1", qty: 3, total: "12.34", at: new Date(0), note: null, tags: ["a", "b"], by: { a: 1n } };
const node = {
  next: { next: null, all: [], nothing: [null, null] },
  all: [{ next: null, all: [], nothing: [] }],
  nothing: [],
};

const topicSchema = jsonSchema({
  type: "object",
  required: ["orderId"],
  properties: {
    orderId: { type: "string", format: "uuid", maxLength: 100 },
    lines: {
      type: "array",
      uniqueItems: true,
      items: { type: "object", additionalProperties: { type: "number", multipleOf: 0.01 } },
    },
    note: {
      anyOf: [
        { type: "null" },
        { type: "string", pattern: "^[a-z]+$" },
        { format: "date-time", type: "string" },
        { format: "email", type: "string" },
      ],
    },
  },
});

const jsonGolden = sample(
  '{"orderId":"0191f2c4-5b7a-7c3e-8a1d-2f6b9c0d4e5f","lines":[{"a":1.25},{"b":2}],"note":"abc"}',
  {
    "content-type": "application/json",
  },
);

/** n.b. `limited` leaves it to core to say which message it was, as plain codecs do. */
function isLimit(error: unknown): boolean {
  return error instanceof RangeError && error.message.includes("above the limit of");
}

/** What a subscription does with a body: codec, then schema. */
function reads(
  name: string,
  reader: Codec,
  golden: Target["golden"],
  schema?: StandardSchema,
  more: Partial<Target> = {},
): Target {
  return {
    name: `schema: ${name}`,
    golden,
    expected: (error) => typed(error) || malformed(error) || isLimit(error),
    async run(given) {
      const message = wireOf(given, "orders", "kafka");
      const payload: unknown = await reader.decode(given.bytes, message);
      if (!schema) return;
      const result = await schema["~standard"].validate(payload);
      for (const { message: text } of result.issues ?? [])
        check(typeof text === "string", "an issue without a message");
    },
    ...more,
  };
}

function written(codec: Codec, payload: unknown): Pick<Sample, "bytes" | "headers"> {
  const message: WireMessage = wireOf({ bytes: Buffer.alloc(0), headers: {}, seed: 0 }, "orders", "kafka");
  const body = codec.encode(payload, message);
  if (!(body instanceof Uint8Array)) throw new TypeError("the codec is asynchronous");
  return { bytes: Buffer.from(body), headers: { ...message.headers } };
}

/** Compatibility of schemas that somebody wrote: it promises 50 ms, or an error. */
function compatibility(type: "avro" | "json-schema" | "protobuf", texts: readonly string[]): Target {
  return {
    name: `schema: compatible, ${type}`,
    golden: texts.map((text) => sample(text)),
    weight: 0.4,
    expected: (error) => isSluiceError(error, "CONFIG") || isSluiceError(error, "TOO_LARGE"),
    run({ bytes: body, seed }) {
      const chance = new Chance(seed);
      const [one, other] = chance.once(2)
        ? [body.toString(), chance.pick(texts)]
        : [chance.pick(texts), body.toString()];
      compatible({ type, level: "FULL", schema: one, against: [other] });
    },
  };
}

const prefixed = [
  sample(Buffer.from("0000000001066f2d3106", "hex")),
  sample("x", { __value_schema_id: "018ef66e2750c84f9dac730b7de2e6ec7a" }),
  sample("x", { schemaid: "7:1.0" }),
];

/** Readers of ids and of schemas themselves. */
const schemaTexts: readonly Target[] = [
  {
    name: "schema: id of a registry",
    golden: prefixed,
    names: ["__value_schema_id", "schemaid"],
    expected: typed,
    run: ({ bytes: body, headers, seed }) => readSchemaId(body, headers, seed % 2 === 0),
  },
  compatibility("avro", [JSON.stringify(orderSchema), JSON.stringify(nestedSchema), '"string"', '["null","int"]']),
  compatibility("protobuf", [
    'syntax = "proto3";\npackage a;\nimport "google/protobuf/struct.proto";\nmessage Order { string id = 1; repeated Line lines = 2; reserved 3 to 5; message Line { map<string, int64> a = 1; } }\nenum Kind { NONE = 0; }\n',
    'syntax = "proto2";\nmessage Order { required string id = 1; optional group G = 2 { optional int32 a = 1; } extensions 100 to 199; oneof c { int32 d = 3; } }\n',
  ]),
  compatibility("json-schema", [
    JSON.stringify({
      type: "object",
      properties: { a: { type: "string", pattern: "^a+$" }, b: { $ref: "#/$defs/b" } },
      $defs: { b: { anyOf: [{ type: "null" }, { $ref: "#" }] } },
    }),
    JSON.stringify({ type: "array", items: { enum: [1, 2, "a"] }, minItems: 1, uniqueItems: true }),
  ]),
];

export function schemaTargets(): readonly Target[] {
  const [orders, nodes] = [avro(orderSchema), avro(nestedSchema)];
  const single = avro(orderSchema, { encoding: "single-object" });
  const [flat, tree] = [protobuf(protos.OrderSchema), protobuf(protos.TreeSchema)];
  const many = union({ json: topicSchema, avro: orders, proto: flat });
  const history = versioned({
    versions: { 1: { codec: limited(json()) }, 2: topicSchema },
    upcast: { 1: (old: unknown) => old as never },
  });
  const leaf = { children: [], numbers: [1, 2], names: {}, choice: { case: "text", value: "x" } };
  const deep = written(tree, { children: [leaf], names: { a: leaf }, json: { a: [1, null, { b: "c" }] } });
  return [
    reads("json with limits", limited(json()), [jsonGolden], topicSchema),
    reads("avro", orders, [written(orders, order)], orders),
    reads("avro, nested", nodes, [written(nodes, node)], nodes),
    reads("avro, single object", single, [written(single, order)]),
    reads(
      "protobuf",
      flat,
      [
        sample(
          Buffer.from(toBinary(protos.OrderSchema, { $typeName: "com.example.Order", id: "o-1", qty: 3, total: 7n })),
        ),
      ],
      flat,
    ),
    reads("protobuf, nested", tree, [deep], tree),
    reads(
      "union",
      many.codec,
      [
        written(many.codec, { type: "avro", payload: order }),
        written(many.codec, { type: "proto", payload: { id: "o-1" } }),
      ],
      many.schema,
      {
        names: ["message-type", "content-type"],
      },
    ),
    reads(
      "versioned",
      history.codec,
      [{ ...jsonGolden, headers: { ...jsonGolden.headers, "schema-version": "1" } }],
      history.schema,
      { names: ["schema-version"] },
    ),
    ...schemaTexts,
  ];
}

/** For topics of a bus that gets all of it. */
export function codecs(): Readonly<
  Record<string, { readonly codec: Codec; readonly schema?: StandardSchema; readonly golden: Target["golden"] }>
> {
  const [orders, tree] = [avro(orderSchema), protobuf(protos.TreeSchema)];
  const many = union({ json: topicSchema, avro: orders });
  return {
    json: { codec: json(), golden: [jsonGolden] },
    checked: { codec: limited(json()), schema: topicSchema, golden: [jsonGolden] },
    avro: { codec: orders, schema: orders, golden: [written(orders, order)] },
    protobuf: { codec: tree, schema: tree, golden: [written(tree, { numbers: [1] })] },
    union: { ...many, golden: [written(many.codec, { type: "avro", payload: order })] },
    bytes: { codec: bytes(), golden: [sample(Buffer.from([0, 1, 2]))] },
  };
}
