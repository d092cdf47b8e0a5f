import { type Codec, type StandardSchema, nodeRuntime } from "@sluice/core";
import { avro } from "@sluice/schema/avro";
import { jsonSchema } from "@sluice/schema/json-schema";
import { protobuf } from "@sluice/schema/protobuf";
import { registered, registry, type SchemaFormat, withPrefix } from "@sluice/schema/registry";
import { protos } from "../inside.ts";
import { check, sample, type Target, typed } from "../target.ts";
import { wireOf } from "./core.ts";
import { orderSchema } from "./schema.ts";

/** A schema out of a registry that anybody may have put there: read as the writer's. */
function writer<T>(format: SchemaFormat<T> & StandardSchema, payload: T, texts: readonly string[]): Target {
  const message = wireOf({ bytes: Buffer.alloc(0), headers: {}, seed: 0 }, "orders", "kafka");
  const body = withPrefix(1, format.write(payload, message), format.messageIndexes);
  return {
    name: `schema: writer's schema, ${format.schemaType}`,
    golden: [format.schemaText, ...texts].map((text) => sample(text)),
    weight: 0.5,
    expected: typed,
    async run({ bytes, seed }) {
      const answer = JSON.stringify({ schema: bytes.toString(), schemaType: format.schemaType });
      const client = registry({
        url: "http://registry.test",
        fetch: () => Promise.resolve(new Response(answer, { headers: { "content-type": "application/json" } })),
        runtime: nodeRuntime,
      });
      const codec: Codec = registered({ registry: client, format });
      const value: unknown = await codec.decode(body, { ...message, body });
      const { issues = [] } = await format["~standard"].validate(value);
      check(
        issues.every((issue) => typeof issue.message === "string"),
        `an issue without a message (${seed})`,
      );
    },
  };
}

const order = { id: "o-1", qty: 3, total: "12.34", at: new Date(0), note: null, tags: ["a"], by: { a: 1n } };

export function writers(): readonly Target[] {
  const json = jsonSchema<{ id: string }>({ type: "object", properties: { id: { type: "string" } } });
  const other = { ...orderSchema, fields: orderSchema.fields.toReversed(), aliases: ["Older"] };
  return [
    writer(avro<unknown>(orderSchema), order, [JSON.stringify(other)]),
    writer(json, { id: "o-1" }, ['{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#"},{"type":"object"}]}}}']),
    writer(protobuf(protos.OrderSchema), { id: "o-1" }, [
      'syntax = "proto3";\npackage a.b;\nmessage A { message B { oneof c { string d = 1; } map<string, A> e = 2; } }\n',
    ]),
  ];
}
