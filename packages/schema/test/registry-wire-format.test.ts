import { isSluiceError } from "@sluice/core";
import {
  headerBytes,
  headerText,
  readHeaderBytes,
  readHeaderText,
  readPrefix,
  readSchemaId,
  withPrefix,
} from "@sluice/schema/registry";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { indexBytes } from "../src/registry/wire-format.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const guid = "8ef66e27-50c8-4f9d-ac73-0b7de2e6ec7a";

function codeOf(run: () => unknown): string {
  try {
    run();
    return "none";
  } catch (error) {
    return isSluiceError(error) ? error.code : String(error);
  }
}

describe("bytes of other clients", () => {
  test.each([
    ["Avro, id 1", 1, "066f2d3106", undefined, "00 00000001 066f2d3106"],
    [
      "JSON, id 2",
      2,
      hex(Buffer.from('{"id":"o-1","qty":3}')),
      undefined,
      "00 00000002 7b226964223a226f2d31222c22717479223a337d",
    ],
    ["Protobuf, first message", 1, "0a036f2d311003", [0], "00 00000001 00 0a036f2d311003"],
    ["Protobuf, nested message", 2, "0a026869", [1, 0], "00 00000002 040200 0a026869"],
  ])("%s", (_what, id, body, indexes, wire) => {
    expect(hex(withPrefix(id, bytes(body), indexes))).toBe(wire.replaceAll(" ", ""));
    const read = readPrefix(bytes(wire), indexes !== undefined);
    expect({ ...read, body: hex(read.body) }).toEqual({ id, body, ...(indexes && { messageIndexes: indexes }) });
  });

  test.each([
    [[0], "00"],
    [[1], "0202"],
    [[0, 1], "040002"],
    [[2, 0, 1], "06040002"],
    [[64], "028001"],
  ])("message indexes %j", (indexes, wire) => {
    expect(hex(Uint8Array.from(indexBytes(indexes)))).toBe(wire);
  });

  test("the header with a GUID, and with an id", () => {
    const golden = "018ef66e2750c84f9dac730b7de2e6ec7a";
    expect(hex(headerBytes({ guid }))).toBe(golden);
    expect(readHeaderBytes(bytes(golden), false)).toEqual({ guid });
    expect(hex(headerBytes({ guid, messageIndexes: [1, 0] }))).toBe(`${golden}040200`);
    expect(readHeaderBytes(bytes("00000000010202"), true)).toEqual({ id: 1, messageIndexes: [1] });
    expect(readSchemaId(bytes("066f2d3106"), { __value_schema_id: golden }, false)).toEqual({
      guid,
      body: bytes("066f2d3106"),
    });
  });

  // Made by @confluentinc/schemaregistry 1.10.1, HeaderSchemaIdSerializer.
  test.each([
    ["010000000000004000800000000000000400", [0]],
    ["0100000000000040008000000000000004040200", [1, 0]],
  ])("the header of a Protobuf message, as Confluent's JavaScript client writes it: %s", (golden, messageIndexes) => {
    const place = { guid: "00000000-0000-4000-8000-000000000004", messageIndexes };
    expect(hex(headerBytes(place))).toBe(golden);
    expect(readHeaderBytes(bytes(golden), true)).toEqual(place);
  });

  test("the list may be long for the single index 0", () => {
    expect(readPrefix(bytes("00 00000001 0200 08"), true)).toMatchObject({ messageIndexes: [0], body: bytes("08") });
  });
});

describe("what is written is read", () => {
  const indexes = fc.option(fc.array(fc.nat(), { minLength: 1, maxLength: 100 }), { nil: undefined });

  test("as prefix, as header and as text", () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.option(fc.uuid(), { nil: undefined }),
        indexes,
        fc.uint8Array(),
        (id, uuid, messageIndexes, body) => {
          const place = {
            ...(uuid === undefined ? { id } : { guid: uuid }),
            ...(messageIndexes && { messageIndexes }),
          };
          const indexed = messageIndexes !== undefined;
          expect(readHeaderBytes(headerBytes(place), indexed)).toEqual(place);
          expect(readHeaderText(headerText(place))).toEqual(place);
          const read = readPrefix(withPrefix(id, body, messageIndexes), indexed);
          expect({ ...read, body: hex(read.body) }).toEqual({
            id,
            body: hex(body),
            ...(messageIndexes && { messageIndexes }),
          });
        },
      ),
    );
  });

  test("a header is believed before the prefix, and Kafka's before the text", () => {
    const body = bytes("00 00000001 22");
    expect(readSchemaId(body, {}, false)).toEqual({ id: 1, body: bytes("22") });
    expect(readSchemaId(body, { schemaid: "7:1.0" }, true)).toEqual({ id: 7, messageIndexes: [1, 0], body });
    expect(readSchemaId(body, { schemaid: "7", __value_schema_id: "0000000009" }, false)).toEqual({ id: 9, body });
  });
});

describe("what is no schema id", () => {
  test.each([
    ["", /the body has no schema id: it is empty/],
    [`0300${"ab".repeat(16)}7b7d`, /AWS Glue schema registry \(it begins with 03\)/],
    ["c301f83016e53318deb9066f2d3106", /single-object encoding/],
    [hex(Buffer.from('{"a":1}')), /plain JSON/],
    ["018ef66e2750c84f9dac730b7de2e6ec7a", /in a header only/],
    ["00000000", /it is 00000000/],
    ["ffffffffffffff", /begins with ffffffffffff and has 7 bytes/],
    ["00ffffffff22", /schema id -1/],
  ])("body %s", (body, message) => {
    expect(() => readPrefix(bytes(body), false)).toThrow(message);
  });

  test.each([
    ["00 00000001", /cut off/],
    ["00 00000001 01", /-1 message indexes/],
    ["00 00000001 9203", /201 message indexes/],
    ["00 00000001 0201", /message index -1/],
    ["00 00000001 ffffffffffff", /cut off or too large/],
  ])("Protobuf body %s", (body, message) => {
    expect(() => readPrefix(bytes(body), true)).toThrow(message);
  });

  test.each([
    [{ __value_schema_id: "xyz" }, /must be hex text/],
    [{ __value_schema_id: "01aa" }, /is no schema id: it is 01aa/],
    [{ __value_schema_id: "" }, /is empty/],
    [{ __value_schema_id: "0000000001ff" }, /1 bytes after the schema id/],
    [{ schemaid: "latest" }, /must be a schema's number or GUID/],
    [{ schemaid: "4294967296" }, /must be a schema's number or GUID/],
  ])("headers %j", (headers, message) => {
    expect(() => readSchemaId(bytes("0000000001"), headers, false)).toThrow(message);
  });

  test("a number that does not fit, or an empty path, is refused when it is written", () => {
    expect(() => withPrefix(-1, bytes(""))).toThrow(/does not fit/);
    expect(() => withPrefix(1, bytes(""), [])).toThrow(/do not name/);
    expect(() => headerBytes({ guid: "1234" })).toThrow(/no GUID/);
  });

  test("hostile input gives an error with a code, and nothing else", () => {
    const header = fc.option(fc.oneof(fc.string(), fc.uint8Array().map(hex)), { nil: undefined });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), header, header, fc.boolean(), (body, kafka, text, indexed) => {
        const headers = {
          ...(kafka !== undefined && { __value_schema_id: kafka }),
          ...(text !== undefined && { schemaid: text }),
        };
        const code = codeOf(() => readSchemaId(body, headers, indexed));
        expect(["none", "INVALID_PAYLOAD"]).toContain(code);
      }),
      { numRuns: 2000 },
    );
  });
});
