import { randomUUID } from "node:crypto";
import { SchemaRegistry, SchemaType } from "@kafkajs/confluent-schema-registry";
import { connect, topic, type Topic } from "@sluice/core";
import { memory } from "@sluice/memory";
import { avro } from "@sluice/schema/avro";
import { jsonSchema } from "@sluice/schema/json-schema";
import { protobuf } from "@sluice/schema/protobuf";
import { registered } from "@sluice/schema/registry";
import { describe, expect, onTestFinished, test } from "vitest";
import { InnerSchema } from "../../registry/messages.ts";
import { client, type Order, orderJson, orderText, server } from "./support.ts";

/** Each format in the registry, and what another client of the registry makes of it. */
export function formatsSuite(): void {
  describe.skipIf(!server)("formats in the registry", () => {
    async function roundTrip<Input, Output>(orders: Topic<Input, Output>, payload: Input): Promise<Output> {
      const bus = await connect(memory());
      onTestFinished(() => bus.close());
      const got = Promise.withResolvers<Output>();
      await bus.subscribe(orders, { group: "reader" }, (each) => got.resolve(each));
      await bus.publish(orders, payload);
      return got.promise;
    }

    test("Avro with types of other files", async () => {
      const line = { type: "record", name: "Line", namespace: "com.example", fields: [{ name: "qty", type: "int" }] };
      const lines = { type: "array", items: "com.example.Line" };
      const cart = { type: "record", name: "com.example.Cart", fields: [{ name: "lines", type: lines }] };
      const format = avro<{ lines: { qty: number }[] }>(cart, { types: [line] });
      const codec = registered({ registry: client(), format, subject: "record" });
      const carts = topic<{ lines: { qty: number }[] }>("carts", { codec, schema: format, groups: ["reader"] });
      expect(await roundTrip(carts, { lines: [{ qty: 3 }] })).toEqual({ lines: [{ qty: 3 }] });
      expect((await client().latest("com.example.Cart")).references).toEqual([
        { name: "com.example.Line", subject: "com.example.Line", version: 1 },
      ]);
    });

    test("JSON Schema, checked by it", async () => {
      const format = jsonSchema<Order>(orderJson);
      const codec = registered({ registry: client(), format });
      const orders = topic<Order>(`json-${randomUUID()}`, { codec, schema: format, groups: ["reader"] });
      expect(await roundTrip(orders, { id: "o-1", qty: 3 })).toEqual({ id: "o-1", qty: 3 });
      expect(await client().latest(`${orders.name}-value`)).toMatchObject({ schemaType: "JSON", version: 1 });
    });

    test.each(["prefix", "header"] as const)("Protobuf, a message inside of another, id as %s", async (schemaId) => {
      const format = protobuf(InnerSchema);
      const codec = registered({ registry: client(), format, schemaId });
      const notes = topic(`proto-${randomUUID()}`, { codec, schema: format, groups: ["reader"] });
      expect(await roundTrip(notes, { x: "hi" })).toMatchObject({ $typeName: "com.example.Other.Inner", x: "hi" });
      const { id, schemaType } = await client().latest(`${notes.name}-value`);
      const message = { system: "memory", topic: notes.name, id: "m", key: null, time: 0, headers: {}, body: null };
      const golden = { prefix: `00${id.toString(16).padStart(8, "0")}0402000a026869`, header: "0a026869" }[schemaId];
      expect(Buffer.from(await codec.encode({ x: "hi" }, message)).toString("hex")).toBe(golden);
      expect([schemaType, message.headers]).toEqual([
        "PROTOBUF",
        schemaId === "header" ? { schemaid: `${id}:1.0` } : {},
      ]);
    });

    test.each([
      [
        "Avro",
        avro<Order>(orderText),
        (peer: SchemaRegistry, subject: string) =>
          peer.register({ type: SchemaType.AVRO, schema: orderText }, { subject }),
      ],
      [
        "JSON Schema",
        jsonSchema<Order>(orderJson),
        (peer: SchemaRegistry, subject: string) =>
          peer.register({ type: SchemaType.JSON, schema: JSON.stringify(orderJson) }, { subject }),
      ],
    ] as const)("%s: another client of the registry reads ours, and we read its", async (_what, format, register) => {
      const other = new SchemaRegistry({ host: client().url });
      const name = `peers-${randomUUID()}`;
      const codec = registered({ registry: client(), format });
      const message = { system: "kafka", topic: name, id: "m", key: null, time: 0, headers: {}, body: null };
      const ours = await codec.encode({ id: "o-1", qty: 3 }, message);
      expect({ ...(await other.decode(Buffer.from(ours))) }).toEqual({ id: "o-1", qty: 3 });
      // It compares the level with its own idea of one.
      await client().setCompatibility("BACKWARD", `${name}-value`);
      const { id } = await register(other, `${name}-value`);
      const theirs = await other.encode(id, { id: "o-2", qty: 4 });
      expect(theirs.readInt32BE(1)).toBe(Buffer.from(ours).readInt32BE(1));
      expect(await codec.decode(theirs, message)).toEqual({ id: "o-2", qty: 4 });
    });
  });
}
