import { readFileSync } from "node:fs";
import { toJson } from "@bufbuild/protobuf";
import { json, type StandardSchema, topic, UnavailableError } from "@sluice/core";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { avro } from "../src/avro/index.ts";
import { versioned } from "../src/index.ts";
import { protobuf } from "../src/protobuf/index.ts";
import { Customer1Schema, Customer2Schema, type Customer3, Customer3Schema } from "./corpus-proto.ts";
import { deadLetterOf, errorOf, message, roundTrip } from "./formats-support.ts";

const split = (name: string) => ({ first: name.split(" ")[0] ?? "", last: name.split(" ").slice(1).join(" ") });

const customers = versioned({
  versions: {
    1: z.object({ name: z.string() }),
    2: z.object({ first: z.string(), last: z.string(), since: z.string().default("1970-01-01") }),
    3: z.object({ first: z.string(), last: z.string(), since: z.string(), tags: z.array(z.string()) }),
  },
  upcast: {
    1: ({ name }) => split(name),
    2: (old) => ({ ...old, tags: [] }),
  },
});

const text = (name: string) => ({ name, type: "string" });
const record = (fields: unknown[]) => ({ type: "record", name: "Customer", fields });
type Money = { readonly first: string; readonly last: string; readonly spent: number };

const spenders = versioned({
  versions: {
    1: avro<{ name: string; spent: number }>(record([text("name"), { name: "spent", type: "int" }])),
    2: avro<Money>(record([text("first"), text("last"), { name: "spent", type: "long" }]), { longs: "number" }),
    3: avro<Money & { readonly note: string | null }>(
      record([
        text("first"),
        text("last"),
        { name: "spent", type: "long" },
        { name: "note", type: ["null", "string"] },
      ]),
      { longs: "number" },
    ),
  },
  upcast: {
    1: ({ name, spent }) => ({ ...split(name), spent: spent * 100 }),
    2: async (old) => Promise.resolve({ ...old, note: null }),
  },
});

const buyers = versioned({
  versions: { 1: protobuf(Customer1Schema), 2: protobuf(Customer2Schema), 3: protobuf(Customer3Schema) },
  upcast: {
    1: ({ name, spent }) => ({ ...split(name), spent: BigInt(spent) * 100n }),
    // Not `...old`: it has the name of its own type.
    2: ({ first, last, spent }) => ({ first, last, spent }),
  },
});

const Customers = topic("customers", { ...customers, key: (customer) => customer.last });
const Spenders = topic("spenders", { ...spenders });
const Buyers = topic("buyers", { ...buyers });

interface Stored {
  readonly note: string;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly reads: unknown;
}

function corpus(name: string): readonly Stored[] {
  return JSON.parse(readFileSync(new URL(`corpus/${name}.json`, import.meta.url), "utf8")) as readonly Stored[];
}

describe("messages of every past version are read as the newest", () => {
  test.each(corpus("customer-json"))("JSON: $note", async ({ headers, body, reads }) => {
    const value = await customers.codec.decode(Buffer.from(body, "hex"), message(headers));
    expect(await customers.schema["~standard"].validate(value)).toEqual({ value: reads });
  });

  test.each(corpus("customer-avro"))("Avro: $note", async ({ headers, body, reads }) => {
    const value = await spenders.codec.decode(Buffer.from(body, "hex"), message(headers));
    expect(await spenders.schema["~standard"].validate(value)).toEqual({ value: reads });
  });

  test.each(corpus("customer-protobuf"))("Protobuf: $note", async ({ headers, body, reads }) => {
    const value = await buyers.codec.decode(Buffer.from(body, "hex"), message(headers));
    const result = await buyers.schema["~standard"].validate(value);
    expect(toJson(Customer3Schema, (result as { readonly value: Customer3 }).value)).toEqual(reads);
  });
});

test("writers publish the newest, and say so", async () => {
  const customer = { first: "Alan", last: "Turing", since: "1936-05-28", tags: [] };
  const { payload, headers } = await roundTrip(Customers, customer);
  expect(payload).toEqual(customer);
  expect(headers).toMatchObject({ "schema-version": "3", "content-type": "application/json" });
  const spender = await roundTrip(Spenders, { first: "A", last: "T", spent: 1, note: null });
  expect(spender.headers).toMatchObject({ "schema-version": "3", "content-type": "application/vnd.apache.avro" });
  expect(spender.body).toBe("02410254" + "0200");
  const buyer = await roundTrip(Buyers, { first: "A", last: "T", spent: 1n });
  expect(buyer.headers).toMatchObject({ "schema-version": "3", "content-type": "application/x-protobuf" });
  expect(buyer.body).toBe("0a0141" + "120154" + "1801");
});

describe("dead letters, with the original bytes", () => {
  test("a version of the future", async () => {
    const letter = await deadLetterOf(Customers, Buffer.from("{}"), { "schema-version": "4" });
    expect(letter.reason).toBe("invalid");
    expect(letter.headers["schema-version"]).toBe("4");
    expect(letter.errorMessage).toMatch(
      /^versions: message \S+ of topic "customers": header "schema-version" is "4"; known are 1, 2, 3; deploy this reader with the newer version/,
    );
  });

  test.each(["0", "-1", "2.0", "two", ""])("version %j, which nobody wrote", async (version) => {
    const error = await errorOf(() =>
      customers.codec.decode(Buffer.from("{}"), message({ "schema-version": version })),
    );
    expect(error.code).toBe("INVALID_PAYLOAD");
    expect(error.message).toContain("known are 1, 2, 3");
  });

  test("an old message that does not fit its own version, with the paths of that version", async () => {
    const letter = await deadLetterOf(Customers, Buffer.from('{"name":1}'), { "schema-version": "1" });
    expect(letter.errorMessage).toContain("version 1, fails its schema: name: ");
    expect(Buffer.from(letter.body ?? []).toString()).toBe('{"name":1}');
  });

  test("an upcast that throws or makes something wrong", async () => {
    const broken = versioned({
      versions: { 7: z.string(), 8: z.number(), 9: z.number().min(5) },
      upcast: {
        7: (old) => {
          if (old === "throw") throw new TypeError("no number");
          return Number(old);
        },
        8: async (old) => {
          if (old === 3) throw new TypeError("not three");
          return Promise.resolve(old);
        },
      },
    });
    const Broken = topic("broken", { ...broken });
    const thrown = await deadLetterOf(Broken, Buffer.from('"throw"'));
    expect(thrown.errorMessage).toContain("version 7, to 8: its upcast threw: no number");
    const late = await deadLetterOf(Broken, Buffer.from('"3"'));
    expect(late.errorMessage).toContain("version 8, to 9: its upcast threw: not three");
    const wrong = await deadLetterOf(Broken, Buffer.from('"x"'), { "schema-version": "7" });
    expect(wrong.errorMessage).toContain("version 8, fails its schema: ");
    expect((await deadLetterOf(Broken, Buffer.from('"4"'))).errorMessage).toContain("fails its schema: ");
  });

  test("another format than its version's", async () => {
    const headers = { "schema-version": "1", "content-type": "application/x-protobuf" };
    const error = await errorOf(() => customers.codec.decode(Buffer.from("{}"), message(headers)));
    expect(error.message).toContain('version 1 is read as "application/json"');
  });
});

test("another header, and another version for messages without it", async () => {
  const { codec } = versioned({
    versions: { 1: z.string(), 2: z.number() },
    upcast: { 1: Number },
    header: "v",
    missing: 2,
  });
  expect(await codec.decode(Buffer.from("5"), message())).toBe(5);
  expect(await codec.decode(Buffer.from('"5"'), message({ v: "1" }))).toBe(5);
});

describe("what is down makes a message wait, wherever it is asked", () => {
  const away = new UnavailableError("the directory is away");
  const throwing = async () => Promise.reject(away);
  const thrown = (): never => {
    throw away;
  };
  const asking = (validate: () => Promise<never>): StandardSchema => ({
    "~standard": { version: 1, vendor: "test", validate },
  });
  const newest = z.string();
  const text = { 1: newest, 2: newest };
  const upcast = { 1: String };
  const cases = {
    "a step": versioned({ versions: text, upcast: { 1: thrown } }),
    "a step, later": versioned({ versions: text, upcast: { 1: throwing } }),
    "the schema of an old version": versioned({ versions: { 1: asking(thrown), 2: newest }, upcast }),
    "its schema, later": versioned({ versions: { 1: asking(throwing), 2: newest }, upcast }),
    "its codec": versioned({ versions: { 1: { ...json(), decode: thrown }, 2: newest }, upcast }),
  };
  test.each(Object.entries(cases))("%s", async (_what, { codec }) => {
    await expect((async () => codec.decode(Buffer.from('"x"'), message()))()).rejects.toBe(away);
  });
});

test("versions with a gap, or none, are refused", async () => {
  const gap = { versions: { 1: z.string(), 3: z.string() }, upcast: { 1: String } } as never;
  expect((await errorOf(() => versioned(gap))).message).toContain(
    "versions are 1, 3; give whole numbers without a gap",
  );
  expect((await errorOf(() => versioned({ versions: {}, upcast: {} }))).message).toContain("versions are none");
  const missing = { versions: { 1: z.string() }, upcast: {}, missing: 2 } as never;
  expect((await errorOf(() => versioned(missing))).message).toContain("missing is 2; give one of the versions 1");
});

test.each([
  [undefined, /what versioned\(\) takes is undefined/],
  [{ upcast: {} }, /versions is undefined/],
  [{ versions: {}, upcast: {} }, /versions are none/],
  [{ versions: { 1: z.string(), 2: z.string() } }, /upcast is undefined/],
  [{ versions: { 1: z.string(), 2: z.string() }, upcast: { 1: "x" } }, /no step from version 1 to 2/],
  [{ versions: { v1: z.string() }, upcast: {} }, /versions are v1; give whole numbers/],
  [
    { versions: { 0: z.string(), 0.5: z.string(), 2: z.string() }, upcast: { 0: String, 0.5: String } },
    /0, 2, 0\.5; give/,
  ],
  [{ versions: { 1: z.string(), "01": z.string(), 3: z.string() }, upcast: { 1: String } }, /1, 3, 01; give/],
  [{ versions: { 1: undefined }, upcast: {} }, /version 1 is neither a schema nor a codec/],
  [{ versions: { 1: z.string() }, upcast: {}, header: "" }, /header is ""/],
])("wrong options %j are named when the topic is made", async (options, text) => {
  const error = await errorOf(() => versioned(options as never));
  expect([error.code, error.message]).toEqual(["CONFIG", expect.stringMatching(text)]);
});
