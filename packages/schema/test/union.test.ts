import { toBinary, create } from "@bufbuild/protobuf";
import { connect, topic } from "@sluice/core";
import { memory } from "@sluice/memory";
import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { avro } from "../src/avro/index.ts";
import { union, type UnionOutput, versioned } from "../src/index.ts";
import { protobuf } from "../src/protobuf/index.ts";
import { type Order, OrderSchema } from "./formats-proto.ts";
import { bytes, deadLetterOf, errorOf, message, roundTrip } from "./formats-support.ts";

const Placed = z.object({ id: z.string(), at: z.string().transform((text) => new Date(text)) });
const paid = avro<{ id: string; cents: bigint }>({
  type: "record",
  name: "Paid",
  fields: [
    { name: "id", type: "string" },
    { name: "cents", type: "long" },
  ],
});

function members() {
  return {
    "order.placed": Placed,
    "order.paid": paid,
    "order.shipped": protobuf(OrderSchema),
    note: { schema: z.string() },
  } as const;
}

const events = union(members());
const Events = topic("orders", { ...events, key: (event) => event.type });
type Event = UnionOutput<ReturnType<typeof members>>;

function never(event: never): never {
  throw new Error(`unhandled ${String(event)}`);
}

describe("types", () => {
  test("a switch knows each payload, and a missing member does not compile", () => {
    const textOf = (event: Event): string => {
      switch (event.type) {
        case "order.placed":
          expectTypeOf(event.payload).toEqualTypeOf<{ id: string; at: Date }>();
          return event.payload.id;
        case "order.paid":
          expectTypeOf(event.payload.cents).toEqualTypeOf<bigint>();
          return `${event.payload.cents}`;
        case "order.shipped":
          expectTypeOf(event.payload).toEqualTypeOf<Order>();
          return event.payload.id;
        case "note":
          return event.payload;
        default:
          return never(event);
      }
    };
    expect(textOf({ type: "note", payload: "n" })).toBe("n");
    const incomplete = (event: Event): string => {
      switch (event.type) {
        case "order.placed":
        case "order.paid":
        case "order.shipped":
          return event.payload.id;
        default:
          // @ts-expect-error -- "note" is not handled
          return never(event);
      }
    };
    expect(() => incomplete({ type: "note", payload: "n" })).toThrow("unhandled");
  });

  test("what is published is typed, too", () => {
    type Input = Parameters<typeof events.codec.encode>[0];
    expectTypeOf<{ type: "order.placed"; payload: { id: string; at: string } }>().toExtend<Input>();
    // @ts-expect-error -- the payload of another member
    const wrong: Input = { type: "note", payload: { id: "o-1", cents: 1n } };
    // @ts-expect-error -- no member
    const unknown: Input = { type: "order.lost", payload: "x" };
    expect([wrong, unknown]).toHaveLength(2);
    // @ts-expect-error -- not a member
    expect(() => union({ a: z.string() }, { missing: "b" })).toThrow("missing must be one of");
  });
});

describe("on the wire", () => {
  test("each member has its own format, and its name in a header", async () => {
    const placed = await roundTrip(Events, { type: "order.placed", payload: { id: "o-1", at: "2026-01-01" } });
    expect(placed.payload).toEqual({ type: "order.placed", payload: { id: "o-1", at: new Date("2026-01-01") } });
    expect(placed.headers).toMatchObject({ "message-type": "order.placed", "content-type": "application/json" });
    expect(Buffer.from(placed.body, "hex").toString()).toBe('{"id":"o-1","at":"2026-01-01"}');
    const payment = await roundTrip(Events, { type: "order.paid", payload: { id: "o-1", cents: 3n } });
    expect(payment).toEqual({
      payload: { type: "order.paid", payload: { id: "o-1", cents: 3n } },
      headers: expect.objectContaining({
        "message-type": "order.paid",
        "content-type": "application/vnd.apache.avro",
      }) as object,
      body: "066f2d3106",
    });
    const shipped = await roundTrip(Events, { type: "order.shipped", payload: { id: "o-1", qty: 3 } });
    expect(shipped.body).toBe("0a036f2d311003");
    expect(shipped.payload.payload).toEqual(create(OrderSchema, { id: "o-1", qty: 3 }));
    expect((await roundTrip(Events, { type: "note", payload: "n" })).body).toBe("226e22");
  });

  test("a message that names no member, or an unknown one, is dead-lettered with the known names", async () => {
    const known = '"order.placed", "order.paid", "order.shipped", "note"';
    const lost = await deadLetterOf(Events, Buffer.from('"x"'), { "message-type": "order.lost" });
    expect(lost.reason).toBe("invalid");
    expect(Buffer.from(lost.body ?? []).toString()).toBe('"x"');
    expect(lost.errorMessage).toContain(
      `header "message-type" is "order.lost"; the union knows ${known}; add the type`,
    );
    const nameless = await deadLetterOf(Events, Buffer.from('"x"'));
    expect(nameless.errorMessage).toContain(`no header "message-type"; the union knows ${known}`);
    const prototype = await deadLetterOf(Events, Buffer.from('"x"'), { "message-type": "constructor" });
    expect(prototype.errorMessage).toContain('is "constructor"');
  });

  test("a message in another format than its member's is dead-lettered", async () => {
    const headers = { "message-type": "note", "content-type": "application/x-protobuf" };
    const letter = await deadLetterOf(Events, bytes("0a00"), headers);
    expect(letter.errorMessage).toContain(
      'content type "application/x-protobuf", but "note" is read as "application/json"',
    );
  });

  test("issues of a member stand under payload", async () => {
    const bad = await deadLetterOf(Events, Buffer.from('{"id":7,"at":"x"}'), { "message-type": "order.placed" });
    expect(bad.errorMessage).toContain("payload.id: ");
    const bus = await connect(memory());
    const error = await errorOf(() =>
      bus.publish(Events, { type: "order.placed", payload: { id: 1 as never, at: "" } }),
    );
    expect(error.issues).toEqual([{ path: "payload.id", message: expect.any(String) as string }]);
    const unknown = await errorOf(() => bus.publish(Events, { type: "order.lost" as never, payload: "" }));
    expect(unknown.issues[0]?.path).toBe("type");
    await bus.close();
  });

  test("another header, and a member for messages without it", async () => {
    const { codec } = union(members(), { header: "ce-type", missing: "order.shipped" });
    const body = Buffer.from(toBinary(OrderSchema, create(OrderSchema, { id: "o-1" })));
    expect(await codec.decode(body, message())).toMatchObject({ type: "order.shipped", payload: { id: "o-1" } });
    const outgoing = message();
    await codec.encode({ type: "note", payload: "n" }, outgoing);
    expect(outgoing.headers).toEqual({ "ce-type": "note", "content-type": "application/json" });
  });

  test("a member may have versions of its own", async () => {
    const { schema, codec } = union({
      person: versioned({
        versions: { 1: z.object({ name: z.string() }), 2: z.object({ first: z.string() }) },
        upcast: { 1: ({ name }) => ({ first: name }) },
      }),
      other: z.number(),
    });
    const People = topic("people", { schema, codec });
    const { payload, headers } = await roundTrip(People, { type: "person", payload: { first: "Ada" } });
    expectTypeOf(payload).toEqualTypeOf<
      | { readonly type: "person"; readonly payload: { first: string } }
      | { readonly type: "other"; readonly payload: number }
    >();
    expect(payload).toEqual({ type: "person", payload: { first: "Ada" } });
    expect(headers).toMatchObject({ "message-type": "person", "schema-version": "2" });
    const old = message({ "message-type": "person", "schema-version": "1" });
    expect(await codec.decode(Buffer.from('{"name":"Ada"}'), old)).toEqual({
      type: "person",
      payload: { first: "Ada" },
    });
  });

  test("schemas and codecs that answer later", async () => {
    const late = z.string().refine(async (text) => Promise.resolve(text !== "no"));
    const codec = {
      contentType: "text/x-late",
      encode: async () => Buffer.from("b"),
      decode: async () => Promise.resolve("late"),
    };
    const Late = topic("late", { ...union({ a: late, b: { schema: late, codec } }) });
    expect((await roundTrip(Late, { type: "a", payload: "yes" })).payload).toEqual({ type: "a", payload: "yes" });
    expect((await roundTrip(Late, { type: "b", payload: "yes" })).payload).toEqual({ type: "b", payload: "late" });
    const bad = await deadLetterOf(Late, Buffer.from('"no"'), { "message-type": "a" });
    expect(bad.errorMessage).toContain("payload: ");
  });
});

test("what is no member, or no name for a header, is refused at once", async () => {
  expect((await errorOf(() => union({ a: {} }))).message).toContain('member "a" is neither a schema nor a codec');
  expect((await errorOf(() => union({ "ä b": z.string() }))).message).toContain("printable ASCII");
  expect((await errorOf(() => union({}))).code).toBe("CONFIG");
});
