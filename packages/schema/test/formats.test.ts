import { readFileSync } from "node:fs";
import { type Codec, connect, json, type StandardSchema, topic } from "@sluice/core";
import { memory } from "@sluice/memory";
import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { avro } from "../src/avro/index.ts";
import { limited } from "../src/index.ts";
import { jsonSchema } from "../src/json-schema/index.ts";
import { protobuf } from "../src/protobuf/index.ts";
import { OrderSchema } from "./formats-proto.ts";
import { bytes, deadLetterOf, errorOf, roundTrip } from "./formats-support.ts";

interface Order {
  readonly id: string;
  readonly lines: readonly { readonly qty: number }[];
}

const order = { id: "o-1", lines: [{ qty: 1 }, { qty: 2 }] };
const wrong = { id: "o-1", lines: [{ qty: 1 }, { qty: "two" }] };
const ofAvro = avro<Order>({
  type: "record",
  name: "Order",
  fields: [
    { name: "id", type: "string" },
    {
      name: "lines",
      type: { type: "array", items: { type: "record", name: "Line", fields: [{ name: "qty", type: "int" }] } },
    },
  ],
});

const schemas: Readonly<Record<string, StandardSchema<Order>>> = {
  zod: z.object({ id: z.string(), lines: z.array(z.object({ qty: z.number() })) }),
  valibot: v.object({ id: v.string(), lines: v.array(v.object({ qty: v.number() })) }),
  arktype: type({ id: "string", lines: type({ qty: "number" }).array() }),
  "json-schema": jsonSchema<Order>({
    type: "object",
    properties: {
      id: { type: "string" },
      lines: { type: "array", items: { type: "object", properties: { qty: { type: "number" } } } },
    },
  }),
  avro: ofAvro,
};

describe.each(Object.entries(schemas))("JSON with a schema of %s", (name, schema) => {
  const orders = topic(`orders.${name}`, { schema, key: ({ id }) => id });

  test("goes through on both sides", async () => {
    const { payload, headers } = await roundTrip(orders, order);
    expect(payload).toEqual(order);
    expect(headers["content-type"]).toBe("application/json");
  });

  test("what does not fit is not published, and the issue has its path", async () => {
    const bus = await connect(memory());
    const error = await errorOf(() => bus.publish(orders, wrong as never));
    expect(error).toMatchObject({ code: "INVALID_PAYLOAD", outcome: "not-stored" });
    expect(error.issues.map(({ path }) => path)).toEqual(["lines.1.qty"]);
    await bus.close();
  });

  test("what does not fit is dead-lettered with its bytes, and the reason has the path", async () => {
    const body = Buffer.from(`  ${JSON.stringify(wrong)}`);
    const letter = await deadLetterOf(orders, body, { "x-other": "kept" });
    expect(letter.reason).toBe("invalid");
    expect(letter.errorMessage).toContain("fails its schema: lines.1.qty: ");
    expect(Buffer.from(letter.body ?? [])).toEqual(body);
    expect(letter.headers["x-other"]).toBe("kept");
  });
});

describe("bytes that cannot be decoded are dead-lettered as they are", () => {
  const Avro = topic("avro", { codec: ofAvro, schema: ofAvro });
  const Protobuf = topic("protobuf", { codec: protobuf(OrderSchema), schema: protobuf(OrderSchema) });
  const both = { codec: ofAvro as Codec, schema: z.object({ lines: z.array(z.object({ qty: z.number().max(1) })) }) };
  const Both = topic("both", both);

  test.each([
    ["Avro, cut off", Avro, "066f2d310402", "lines.1.qty: the body ends too early"],
    ["Avro, by a schema beside it", Both, "066f2d3104020400", "lines.1.qty: "],
    ["Protobuf, cut off", Protobuf, "0a036f2d", "id: a length of 3 bytes where 2 are left"],
  ])("%s", async (_, orders, body, reason) => {
    const letter = await deadLetterOf(orders as typeof Avro, bytes(body));
    expect(letter.reason).toBe("invalid");
    expect(letter.errorMessage).toContain(reason);
    expect(Buffer.from(letter.body ?? []).toString("hex")).toBe(body);
  });

  test("a bomb", async () => {
    const letter = await deadLetterOf(topic("limited", { codec: limited(json()) }), Buffer.from("[".repeat(5000)));
    expect(letter.reason).toBe("invalid");
    expect(letter.errorMessage).toMatch(
      /^limits: message \S+ of topic "limited" is refused: the JSON text has more than 100 levels/,
    );
    expect(letter.body).toHaveLength(5000);
  });

  test.each([Avro, Protobuf])("a content type that $name does not read", async (orders) => {
    const letter = await deadLetterOf(orders as typeof Avro, bytes("0a00"), { "content-type": "application/json" });
    expect(letter.errorMessage).toContain(
      `has content type "application/json"; the topic's codec reads "${orders.codec.contentType}"`,
    );
  });

  test("and go through when they can", async () => {
    expect((await roundTrip(Avro, order)).payload).toEqual(order);
    const { payload, headers } = await roundTrip(Protobuf, { id: "o-1", qty: 3 });
    expect(payload).toMatchObject({ $typeName: "com.example.Order", id: "o-1", qty: 3, total: 0n });
    expect(headers["content-type"]).toBe("application/x-protobuf");
  });
});

describe("each door imports only its own library", () => {
  /** Packages that a module loads, itself or through others of this package. */
  function packagesOf(url: URL, seen = new Set<string>()): ReadonlySet<string> {
    if (seen.has(url.href)) return new Set();
    seen.add(url.href);
    const found = new Set<string>();
    const imports = readFileSync(url, "utf8").matchAll(/^(?:import|export)\s+(?!type\b)[^"]*?from "([^"]+)"/gms);
    for (const [, name = ""] of imports) {
      if (!name.startsWith("."))
        found.add(
          name
            .split("/")
            .slice(0, name.startsWith("@") ? 2 : 1)
            .join("/"),
        );
      else for (const each of packagesOf(new URL(name, url), seen)) found.add(each);
    }
    return found;
  }

  test.each([
    ["index.ts", []],
    ["json-schema/index.ts", ["ajv", "ajv-formats"]],
    ["avro/index.ts", ["avsc"]],
    ["protobuf/index.ts", ["@bufbuild/protobuf"]],
  ])("%s", (door, libraries) => {
    const found = packagesOf(new URL(`../src/${door}`, import.meta.url));
    const others = [...found].filter((name) => name !== "@sluice/core" && !name.startsWith("node:"));
    expect(others.toSorted()).toEqual(libraries);
  });
});
