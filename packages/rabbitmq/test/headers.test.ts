import { DriverError, emptyHeaders } from "@sluice/core/driver";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { carried, checkSize, fromTable, type HeaderTable, toTable } from "../src/headers.ts";
import { decodeTable, encodeTable } from "./support/codec.ts";

const nothing = () => false;

/** Through amqplib's own codec, there and back. */
function overTheWire(table: HeaderTable): Record<string, unknown> {
  return decodeTable(encodeTable(table));
}

function headers(entries: Readonly<Record<string, unknown>>): Record<string, string> {
  // What a plain JavaScript caller may hand in.
  return Object.assign(emptyHeaders(), entries);
}

/** The table, or nothing where it was refused in the right way; whatever else is thrown fails the test. */
function accepted(given: Record<string, string>): HeaderTable | undefined {
  try {
    return toTable(given);
  } catch (error) {
    if (error instanceof DriverError && error.code === "INVALID_MESSAGE") return undefined;
    throw error;
  }
}

describe("values", () => {
  test.each<[string, unknown]>([
    ["undefined in a list", [undefined]],
    ["a function", () => 1],
    ["a symbol", Symbol("s")],
    ["a bigint", 1n],
    ["NaN", Number.NaN],
    ["Infinity", Number.POSITIVE_INFINITY],
    ["-Infinity", Number.NEGATIVE_INFINITY],
    ["below the smallest integer", -(2 ** 64)],
    ["a Date", new Date(0)],
    ["a Map", new Map([["a", 1]])],
    ["a Set", new Set([1])],
    ["a RegExp", /x/],
    ["a class instance", new (class Money {})()],
    ["a Uint8Array that is no Buffer", new Uint8Array([1])],
    ["a type directive", { "!": "int64", value: "x" }],
    ["a nested type directive", { a: [{ "!": "shortstr", value: "x" }] }],
    ["half a surrogate pair", "\ud800"],
    ["a list in itself", circular()],
    ["a name of 256 bytes inside", { ["n".repeat(256)]: 1 }],
  ])("%s is refused before the wire", (_, value) => {
    expect(() => toTable(headers({ given: value }))).toThrow(
      expect.objectContaining({ code: "INVALID_MESSAGE", message: expect.stringContaining('"given"') }),
    );
  });

  test.each<[string, unknown]>([
    ["text", "a"],
    ["empty text", ""],
    ["any character", "\u0000 ü 漢 🎈"],
    ["true", true],
    ["a byte", 127],
    ["a short", -32_768],
    ["an integer", 2_147_483_647],
    ["a long", Number.MAX_SAFE_INTEGER],
    ["a fraction", 0.1],
    ["a huge number", 1e300],
    ["null", null],
    ["bytes", Buffer.from([0, 255])],
    ["a list", ["a", 1, null, [true]]],
    ["a table", { a: { b: "c" } }],
    ["a time as it was read", { "!": "timestamp", value: 1_700_000_000 }],
    ["a decimal as it was read", { "!": "decimal", value: { places: 2, digits: 314 } }],
  ])("%s arrives as it is", (_, value) => {
    expect(overTheWire(toTable(headers({ given: value })))["given"]).toEqual(value);
  });

  test("members that are undefined are not sent", () => {
    expect(Object.keys(toTable(headers({ a: undefined, b: "1" })))).toEqual(["b"]);
  });

  test("names: 255 bytes pass, 256 do not", () => {
    expect(Object.keys(overTheWire(toTable(headers({ ["ü".repeat(127)]: "1" }))))).toEqual(["ü".repeat(127)]);
    expect(() => toTable(headers({ ["ü".repeat(128)]: "1" }))).toThrow(/255 bytes/);
  });

  test.each([
    "CC",
    "BCC",
    "x-death",
    "x-first-death-queue",
    "x-last-death-reason",
    "x-delivery-count",
    "x-acquired-count",
  ])("%s is the broker's own: refused on the way out, not shown on the way in", (name) => {
    expect(() => toTable(headers({ [name]: "1" }))).toThrow(/broker's own/);
    expect(fromTable({ [name]: "1", other: "2" }, nothing)).toEqual(headers({ other: "2" }));
  });

  test("whatever is accepted can be encoded, and its size was known", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ maxLength: 20 }), fc.anything({ withDate: true, withMap: true, withBigInt: true })),
        (given) => {
          const table = accepted(headers(given));
          if (!table) return;
          const { length } = encodeTable(table);
          expect(() => checkSize(table, length - 5_000)).not.toThrow(TypeError);
          expect(() => checkSize(table, Math.max(length * 3, 100))).not.toThrow();
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("text headers", () => {
  test("any names and values survive, also those that JavaScript treats as special", () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.oneof(
            fc.constantFrom("__proto__", "constructor", "toString", ""),
            fc.string({ unit: "grapheme", maxLength: 20 }),
          ),
          fc.string({ unit: "grapheme" }),
          { noNullPrototype: false },
        ),
        (given) => {
          fc.pre(Object.keys(given).every((name) => !/^(CC|BCC|x-.*|sluice-.*)$/.test(name) && name.isWellFormed()));
          const sent = headers(given);
          expect(fromTable(overTheWire(toTable(sent)), nothing)).toEqual(sent);
        },
      ),
    );
  });

  test("__proto__ is a header like any other", () => {
    const sent = emptyHeaders();
    sent["__proto__"] = "p";
    const received = fromTable(overTheWire(toTable(sent)), nothing);
    expect(Object.keys(received)).toEqual(["__proto__"]);
    expect(received["__proto__"]).toBe("p");
  });

  test("foreign numbers, booleans and times become text; what text cannot hold stays native", () => {
    const table = {
      number: 1.5,
      flag: false,
      list: [1],
      bytes: Buffer.from([1]),
      none: null,
      time: { "!": "timestamp", value: 1 },
    };
    expect(fromTable(table, nothing)).toEqual(
      headers({ number: "1.5", flag: "false", time: "1970-01-01T00:00:01.000Z" }),
    );
    expect(fromTable(undefined, nothing)).toEqual(headers({}));
  });
});

describe("copies", () => {
  const table = {
    number: 7,
    list: ["a"],
    bytes: Buffer.from([1]),
    text: "t",
    gone: "g",
    "x-death": [{ count: 1 }],
    infinite: Number.NaN,
  };

  test("keep native values and types, and what core changed or took away stays so", () => {
    expect(carried(table, headers({ number: "7", text: "changed" }), nothing)).toEqual(
      headers({ number: 7, list: ["a"], bytes: Buffer.from([1]) }),
    );
  });

  test("leave out what the driver itself writes", () => {
    expect(carried(table, headers({}), (name) => name === "list")).toEqual(headers({ bytes: Buffer.from([1]) }));
  });
});

describe("size", () => {
  test("is checked before the wire, naming both numbers", () => {
    const table = toTable(headers({ a: "x".repeat(70_000) }));
    expect(() => checkSize(table, 1_000_000)).toThrow(
      expect.objectContaining({ code: "TOO_LARGE", message: expect.stringMatching(/70011 bytes.*64512/) }),
    );
  });
});

function circular(): unknown[] {
  const list: unknown[] = [];
  list.push(list);
  return list;
}
