import { bytes, type Codec, connect, isSluiceError, PermanentError, topic, UnavailableError } from "@sluice/core";
import { memory, MemoryBroker, simulation } from "@sluice/memory";
import { registered, type RegisteredOptions, registry } from "@sluice/schema/registry";
import { afterEach, describe, expect, test } from "vitest";
import { base, FakeRegistry, hex, json, orderGuid, orderText, textFormat, wireMessage } from "./registry-support.ts";

function setUp(options: Partial<RegisteredOptions<string>> = {}) {
  const server = new FakeRegistry();
  const clock = simulation();
  const client = registry({ url: base, fetch: server.fetch, runtime: clock.runtime });
  const codec = registered({ registry: client, format: textFormat(), ...options });
  return { server, clock, client, codec };
}

const down = () => json(503, { error_code: 50003, message: "down" });
const wire = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

async function failureOf(codec: Codec<string>, body: string, message = wireMessage()): Promise<unknown> {
  try {
    return `read as ${await codec.decode(wire(body), message)}`;
  } catch (error) {
    return error;
  }
}

async function encoded(codec: Codec<string>, payload: string, message = wireMessage()): Promise<string> {
  return hex(await codec.encode(payload, message));
}

describe("writing", () => {
  test("registers once, puts the id in front of the body, and needs no registry from then on", async () => {
    const { codec, server } = setUp();
    expect(await Promise.all([encoded(codec, "a"), encoded(codec, "b")])).toEqual(["000000000161", "000000000162"]);
    server.failing = down;
    const again = codec.encode("c", wireMessage());
    expect(again).toBeInstanceOf(Uint8Array);
    expect(server.requests).toEqual(["POST /subjects/orders-value/versions"]);
    expect(codec.contentType).toBe("application/vnd.confluent.avro");
  });

  test.each([
    ["topic", "orders-value"],
    ["record", "com.example.Order"],
    ["topic-record", "orders-com.example.Order"],
    [(name: string) => `own-${name}`, "own-orders"],
  ] as const)("subject %s is %s", async (subject, name) => {
    const { codec, server } = setUp({ subject });
    await encoded(codec, "a");
    expect(server.requests).toEqual([`POST /subjects/${name}/versions`]);
  });

  test("a schema without a name has no record subject", async () => {
    const { codec } = setUp({ subject: "record", format: textFormat({ name: undefined }) });
    await expect(encoded(codec, "a")).rejects.toThrow(/the AVRO schema of topic "orders" has no name/);
  });

  test("never: the schema must be there", async () => {
    const { codec, server } = setUp({ register: "never" });
    const error: unknown = await encoded(codec, "a").catch((thrown: unknown) => thrown);
    expect(isSluiceError(error, "NOT_FOUND")).toBe(true);
    expect(server.stored).toHaveLength(0);
    const other = setUp({ register: "never" });
    other.server.add("orders-value", orderText);
    expect(await encoded(other.codec, "a")).toBe("000000000161");
    expect(other.server.requests).toEqual(["POST /subjects/orders-value"]);
  });

  test("the header: bytes on Kafka, text elsewhere; the body stays bare", async () => {
    const { codec, server } = setUp({ schemaId: "header" });
    const kafka = wireMessage({ system: "kafka", headers: { schemaid: "9", own: "1" } });
    expect(await encoded(codec, "a", kafka)).toBe("61");
    expect(kafka.headers).toEqual({ own: "1", __value_schema_id: "018ef66e2750c84f9dac730b7de2e6ec7a" });
    const other = wireMessage({ system: "rabbitmq", headers: { __value_schema_id: "00" } });
    expect(await encoded(codec, "a", other)).toBe("61");
    expect(other.headers).toEqual({ schemaid: orderGuid });
    expect([codec.contentType, server.requests.length]).toEqual(["text/plain", 1]);
  });

  test("the header with the id, where the registry has no GUIDs", async () => {
    const { codec, server } = setUp({ schemaId: "header" });
    server.guids = false;
    const [kafka, other] = [wireMessage({ system: "kafka" }), wireMessage()];
    await encoded(codec, "a", kafka);
    await encoded(codec, "a", other);
    expect([kafka.headers, other.headers]).toEqual([{ __value_schema_id: "0000000001" }, { schemaid: "1" }]);
  });

  test("headers of a message that is passed on do not contradict the prefix", async () => {
    const { codec } = setUp();
    const message = wireMessage({ headers: { __value_schema_id: "0000000009", schemaid: "9" } });
    await encoded(codec, "a", message);
    expect(message.headers).toEqual({});
  });

  test("Protobuf has its message indexes in both forms", async () => {
    const format = textFormat({ schemaType: "PROTOBUF", messageIndexes: [1, 0] });
    const { codec } = setUp({ format });
    expect(await encoded(codec, "a")).toBe("000000000104020061");
    const inHeader = setUp({ format, schemaId: "header" });
    const message = wireMessage();
    await encoded(inHeader.codec, "a", message);
    expect(message.headers).toEqual({ schemaid: `${orderGuid}:1.0` });
    expect(await inHeader.codec.decode(Buffer.from("x"), message)).toBe("1.0:x");
    expect(await encoded(setUp({ format: textFormat({ schemaType: "PROTOBUF" }) }).codec, "a")).toBe("00000000010061");
  });

  test("what it refers to is registered first, each under its own name", async () => {
    const references = [{ name: "b", schema: '"b"', references: [{ name: "a", schema: '"a"' }] }];
    const { client, codec, server } = setUp({ format: textFormat({ references }) });
    await encoded(codec, "x");
    expect(server.requests).toEqual([
      "POST /subjects/a/versions",
      "POST /subjects/a",
      "POST /subjects/b/versions",
      "POST /subjects/b",
      "POST /subjects/orders-value/versions",
    ]);
    expect((await client.resolved({ id: 3 })).references).toEqual([
      { name: "a", schema: '"a"' },
      { name: "b", schema: '"b"' },
    ]);
  });

  test("an outage is one for the publisher, too: nothing is stored, and it may try again", async () => {
    const { clock, codec, server } = setUp();
    server.failing = down;
    const error = await clock.run(encoded(codec, "a").catch((thrown: unknown) => thrown));
    expect(error).toBeInstanceOf(UnavailableError);
    server.failing = () => json(409, { error_code: 409, message: "qty: INT is not STRING" });
    await expect(encoded(codec, "a")).rejects.toMatchObject({
      code: "MISMATCH",
      issues: [{ message: "qty: INT is not STRING" }],
    });
    server.failing = undefined;
    expect(await encoded(codec, "a")).toBe("000000000161");
  });
});

describe("writing with the latest version", () => {
  const other = '{"type":"record","name":"Order","fields":[]}';

  test("is as that version says, and follows it after a minute", async () => {
    const written: string[] = [];
    const writer = ({ schema }: { readonly schema: string }) => (
      written.push(schema),
      { write: (text: string) => Buffer.from(`<${text}>`) }
    );
    const { clock, codec, server } = setUp({ register: "latest", format: textFormat({ writer }) });
    server.add("orders-value", orderText);
    expect(await encoded(codec, "a")).toBe("00000000013c613e");
    server.add("orders-value", other);
    expect(await encoded(codec, "a")).toBe("00000000013c613e");
    await clock.advance(61_000);
    expect(await encoded(codec, "a")).toBe("00000000023c613e");
    await clock.advance(61_000);
    server.failing = down;
    expect(await clock.run(encoded(codec, "a"))).toBe("00000000023c613e");
    expect(written).toEqual([orderText, other]);
  });

  test("without a writer it must be the topic's own, except for JSON", async () => {
    const own = setUp({ register: "latest" });
    own.server.add("orders-value", orderText);
    expect(await encoded(own.codec, "a")).toBe("000000000161");
    const changed = setUp({ register: "latest" });
    changed.server.add("orders-value", other);
    await expect(encoded(changed.codec, "a")).rejects.toMatchObject({ code: "MISMATCH" });
    const text = setUp({ register: "latest", format: textFormat({ schemaType: "JSON" }) });
    text.server.add("orders-value", other, { schemaType: "JSON" });
    expect(await encoded(text.codec, "a")).toBe("000000000161");
  });

  test("of another type is refused", async () => {
    const { codec, server } = setUp({ register: "latest" });
    server.add("orders-value", other, { schemaType: "JSON" });
    await expect(encoded(codec, "a")).rejects.toThrow(/is JSON, and the topic's schema is AVRO/);
  });
});

describe("reading", () => {
  const from = wireMessage();

  test("with the writer's schema, compiled once", async () => {
    const format = textFormat();
    const { codec, server } = setUp({ format });
    server.add("orders-value", orderText);
    expect(await Promise.all([1, 2].map(async () => codec.decode(wire("00 00000001 61"), from)))).toEqual(["a", "a"]);
    server.failing = down;
    expect(codec.decode(wire("00 00000001 62"), from)).toBe("b");
    expect(await codec.decode(wire("63"), wireMessage({ headers: { schemaid: "1" } }))).toBe("c");
    expect([format.compiled, server.requests]).toEqual([[orderText], ["GET /schemas/ids/1"]]);
  });

  test("by the GUID in a header", async () => {
    const { codec, server } = setUp();
    server.add("orders-value", orderText);
    const message = wireMessage({ headers: { __value_schema_id: "018ef66e2750c84f9dac730b7de2e6ec7a" } });
    expect(await codec.decode(wire("61"), message)).toBe("a");
    expect(server.requests).toEqual([`GET /schemas/guids/${orderGuid}`]);
  });

  test("an unknown id is final: looked up twice, and not again for five seconds", async () => {
    const { clock, codec, server } = setUp();
    const read = async () => {
      const error = await clock.run(failureOf(codec, "00 00000007 61"));
      expect(error).toMatchObject({ code: "INVALID_PAYLOAD" });
      expect(String(error)).toContain(
        'registry: message m-1 of topic "orders" has schema 7, which the registry does not know',
      );
      return server.requests.length;
    };
    expect([await read(), await read()]).toEqual([2, 2]);
    server.add("other", '"a"');
    for (let id = 2; id <= 7; id++) server.add("orders-value", `"${id}"`);
    await clock.advance(5001);
    expect(await codec.decode(wire("00 00000007 61"), from)).toBe("a");
  });

  test("a schema that the registry knows a moment later: nobody is refused", async () => {
    const { clock, codec, server } = setUp();
    const reads = ["61", "62"].map(async (body) => codec.decode(wire(`00 00000001 ${body}`), from));
    await clock.advance(500);
    server.add("orders-value", orderText);
    expect(await clock.run(Promise.all(reads))).toEqual(["a", "b"]);
    expect(server.requests).toHaveLength(2);
  });

  test("made-up ids wait ten times a minute, and no more", async () => {
    const { clock, codec, server } = setUp();
    const all = Array.from({ length: 30 }, (_, index) => failureOf(codec, `00 000001${hex(Buffer.from([index]))} 61`));
    await clock.run(Promise.all(all));
    expect(server.requests).toHaveLength(30 + 10);
    await clock.advance(60_000);
    await clock.run(failureOf(codec, "00 00000200 61"));
    expect(server.requests).toHaveLength(30 + 10 + 2);
  });

  const reference = { name: "a", subject: "a", version: 1 };
  test.each([
    ["400", () => json(400, { error_code: 400, message: "odd" }), /answered 400: odd/],
    ["413", () => json(413, { error_code: 413, message: "large" }), /too large/],
    ["a 404 without the registry's number", () => json(404, { error_code: 404 }), /does not know this call/],
    ["more than 2 MiB", () => json(200, { schema: "x".repeat(3_000_000) }), /more than 2097152 bytes/],
    ["a schema of a type that nobody knows", () => json(200, { schema: "x", schemaType: "XML" }), /schemaType/],
    ["a circle", () => json(200, { schema: "x", subject: "a", version: 1, id: 9, references: [reference] }), /circle/],
  ])("%s for one schema refuses its messages, and holds up nobody else", async (_what, answer, reason) => {
    const { clock, codec, server } = setUp();
    server.add("orders-value", orderText);
    server.failing = (call) => (/ids\/9$|guids|subjects\/a/.test(call) ? answer() : undefined);
    const guid = wireMessage({ headers: { schemaid: orderGuid } });
    for (const message of [from, guid]) {
      const error = await clock.run(failureOf(codec, message === guid ? "61" : "00 00000009 61", message));
      expect(error).toMatchObject({ code: "INVALID_PAYLOAD", message: expect.stringMatching(reason) as string });
    }
    expect(await codec.decode(wire("00 00000001 61"), from)).toBe("a");
    const asked = server.requests.length;
    await failureOf(codec, "00 00000009 62");
    expect(server.requests).toHaveLength(asked);
  });

  test("a refused schema that is corrected is read after five seconds", async () => {
    const { clock, codec, server } = setUp();
    server.add("orders-value", orderText);
    server.failing = (call) => (call.endsWith("/ids/1") ? json(400, { error_code: 400, message: "odd" }) : undefined);
    expect(await failureOf(codec, "00 00000001 61")).toMatchObject({ code: "INVALID_PAYLOAD" });
    server.failing = undefined;
    await clock.advance(5001);
    expect(await codec.decode(wire("00 00000001 61"), from)).toBe("a");
  });

  test.each([
    ["down", down],
    ["that refuses our credentials", () => json(401, { error_code: 401, message: "no" })],
    ["that forbids it", () => json(403, { error_code: 403, message: "no" })],
    ["that is a web page", () => new Response("<html>")],
    ["behind a login page", () => new Response(null, { status: 302, headers: { location: "https://login.test/" } })],
    ["that refuses everything", () => json(400, { error_code: 400, message: "no" })],
    ["whose proxy says 404", () => new Response("not found", { status: 404 })],
    ["that talks nonsense", () => json(200, { schema: 7 })],
  ])("a registry %s is an outage: the message waits", async (_what, answer) => {
    const { clock, codec, server } = setUp();
    server.add("orders-value", orderText);
    server.failing = answer;
    const read = async () => codec.decode(wire("00 00000001 61"), from);
    expect(await clock.run(read().catch((error: unknown) => error))).toBeInstanceOf(UnavailableError);
    server.failing = undefined;
    expect(await read()).toBe("a");
  });

  test("a schema of another type, a hostile one and one that we cannot read are final", async () => {
    const refuse = () => {
      throw new PermanentError("no default for field qty");
    };
    const cases = [
      [textFormat({ schemaType: "JSON" }), orderText, /it was written as AVRO, and the topic is read as JSON/],
      [textFormat({ reader: refuse }), orderText, /cannot be read as the topic's: no default for field qty/],
      [textFormat(), `${"[".repeat(5000)}${"]".repeat(5000)}`, /levels of nesting/],
      [textFormat(), `[${"1,".repeat(20_000)}1]`, /more than 10000 elements/],
      [textFormat(), `["${"x".repeat(600_000)}"]`, /it has 600006 bytes, above the limit of 524288/],
    ] as const;
    for (const [format, schema, message] of cases) {
      const { codec, server } = setUp({ format });
      server.add("orders-value", schema);
      for (const _ of [1, 2])
        await expect((async () => codec.decode(wire("00 00000001 61"), from))()).rejects.toThrow(message);
      expect(server.requests).toHaveLength(1);
    }
  });

  test("says what it found instead of an id", () => {
    const { codec } = setUp();
    expect(() => codec.decode(Buffer.from("{}"), from)).toThrow(
      /^registry: message m-1 of topic "orders": the body looks like plain JSON without a schema id/,
    );
  });

  test.each([
    "application/vnd.confluent.avro",

    "text/plain; charset=utf-8",
    "application/octet-stream",
  ])("accepts content type %s", (contentType) => expect(setUp().codec.accepts?.(contentType)).toBe(true));
  test("refuses others", () => expect(setUp().codec.accepts?.("application/json")).toBe(false));
});

describe("on a bus", () => {
  const open: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of open.splice(0)) await close();
  });

  test.each(["prefix", "header"] as const)("%s: there and back", async (schemaId) => {
    const bus = await connect(memory());
    open.push(() => bus.close());
    const orders = topic<string>("orders", { codec: setUp({ schemaId }).codec, groups: ["g"] });
    const got = Promise.withResolvers<string>();
    await bus.subscribe(orders, { group: "g" }, (payload) => got.resolve(payload));
    await bus.publish(orders, "hello");
    expect(await got.promise).toBe("hello");
  });

  test("an unknown id is a dead letter with its bytes; while the registry is down the message waits", async () => {
    const { clock, codec, server } = setUp();
    const broker = new MemoryBroker();
    const bus = await connect(memory({ broker }), { runtime: clock.runtime });
    open.push(() => clock.run(bus.close()));
    const orders = topic<string>("orders", { codec, groups: ["g"] });
    const raw = topic<Uint8Array>("orders", { codec: bytes(), groups: ["g"] });
    const got: string[] = [];
    const foreign = await connect(memory({ broker }), { runtime: clock.runtime });
    open.push(() => clock.run(foreign.close()));
    await clock.run(bus.subscribe(orders, { group: "g" }, (payload) => void got.push(payload)));
    const settled = bus.settled(orders);
    await clock.run(foreign.publish(raw, wire("00 00000007 61")));
    expect(await clock.run(settled)).toMatchObject({ fate: "dead-letter" });
    const letters = bus.deadLetters(orders, { group: "g" });
    const [letter] = (await clock.run(letters.list())).letters;
    expect(hex(letter?.body ?? new Uint8Array())).toBe("000000000761");
    expect(letter?.errorMessage).toContain("has schema 7, which the registry does not know");
    server.add("orders-value", orderText);
    server.failing = (call) => (call.endsWith("/ids/9") ? json(400, { error_code: 400, message: "odd" }) : undefined);
    const refused = bus.settled(orders);
    await clock.run(foreign.publish(raw, wire("00 00000009 61")));
    expect(await clock.run(refused)).toMatchObject({ fate: "dead-letter" });
    expect((await clock.run(letters.list())).letters[1]?.errorMessage).toContain("answered 400: odd");
    server.failing = down;
    const later = bus.settled(orders);
    await clock.run(foreign.publish(raw, wire("00 00000001 62")));
    await clock.advance(120_000);
    expect([got, (await clock.run(letters.list())).letters.length]).toEqual([[], 2]);
    server.failing = undefined;
    expect(await clock.run(later)).toMatchObject({ fate: "done" });
    expect(got).toEqual(["b"]);
  });

  test("a publish while the registry is down rejects as not stored", async () => {
    const { client, codec, server } = setUp();
    expect(client.url).toBe(base);
    server.failing = () => json(401, { error_code: 401, message: "no" });
    const bus = await connect(memory());
    open.push(() => bus.close());
    const orders = topic<string>("orders", { codec, unrouted: "allow" });
    await expect(bus.publish(orders, "x")).rejects.toMatchObject({ code: "UNAUTHORIZED", outcome: "not-stored" });
    server.failing = () => {
      throw new UnavailableError("fetch of the user");
    };
    const quick = registered({
      registry: registry({ url: base, fetch: server.fetch, retry: { attempts: 1 } }),
      format: textFormat(),
    });
    const other = topic<string>("other", { codec: quick, unrouted: "allow" });
    await expect(bus.publish(other, "x")).rejects.toMatchObject({ code: "UNAVAILABLE", outcome: "not-stored" });
  });
});
