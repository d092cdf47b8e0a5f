import { simulation } from "@sluice/memory";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { type Codec, text } from "../src/codec.ts";
import type { Capabilities, Limits, SendItem } from "../src/driver/index.ts";
import { SluiceError } from "../src/errors.ts";
import type { Draft } from "../src/middleware.ts";
import type { PublishOptions } from "../src/publish/options.ts";
import { draft, type Outgoing, type RecordPort, toItem } from "../src/publish/record.ts";
import { type Topic, topic } from "../src/topic.ts";
import { capabilities, limits } from "./publish-support.ts";

const now = Date.UTC(2026, 0, 1);
const orders = topic("orders");

function port(over: { capabilities?: Partial<Capabilities>; limits?: Partial<Limits> } = {}): RecordPort {
  return {
    driver: "fake",
    system: "fake",
    wire: [],
    runtime: simulation().runtime,
    limits: () => ({ ...limits, ...over.limits }),
    capabilities: () => ({ ...capabilities, ...over.capabilities }),
  };
}

function build(
  options: PublishOptions = {},
  over: Parameters<typeof port>[0] = {},
  payload: unknown = { n: 1 },
): SendItem {
  const known = port(over);
  return itemNow(draft(orders, options.id ?? "id-1", payload, options, known, undefined) as Draft, options, known).item;
}

/** A synchronous codec gives its bytes at once. */
function itemNow(...given: Parameters<typeof toItem>): Outgoing {
  const made = toItem(...given);
  if (made instanceof Promise) throw new TypeError("a promise from a synchronous codec");
  return made;
}

function refusal(run: () => unknown): { code: string; outcome: string | undefined; message: string } {
  try {
    run();
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error;
    return { code: error.code, outcome: error.outcome, message: error.message };
  }
  throw new Error("nothing was refused");
}

describe("a record", () => {
  test("names the message and this write, and says what the body is", () => {
    expect(build({ key: "k", headers: { "x-a": "1" } })).toEqual({
      to: { topic: "orders" },
      record: {
        id: "id-1",
        dedupId: "id-1/0",
        key: "k",
        body: Buffer.from('{"n":1}'),
        headers: { "content-type": "application/json", "x-a": "1" },
        time: now,
      },
    });
  });

  test("headers inherit nothing, and a header may be called __proto__", () => {
    const { headers } = build({ headers: JSON.parse('{"__proto__":"x"}') as Record<string, string> }).record;
    expect("toString" in headers).toBe(false);
    expect(headers["__proto__"]).toBe("x");
  });

  test("the key comes from the checked payload, the body from the given one", () => {
    const Order = topic("orders", {
      schema: z.object({ n: z.string().transform(Number) }),
      key: (order) => `n${order.n + 1}`,
    });
    const known = port();
    const message = draft(Order, "a", { n: "41" }, {}, known, undefined) as Draft;
    expect(message.key).toBe("n42");
    expect(new TextDecoder().decode(itemNow(message, {}, known).item.record.body ?? undefined)).toBe('{"n":"41"}');
    const none = draft(Order, "a", { n: "41" }, { key: null }, known, undefined) as Draft;
    expect(none.key).toBe(null);
  });

  test("an asynchronous schema makes the draft a promise", async () => {
    const Order = topic("orders", { schema: z.object({ n: z.number().refine((n) => Promise.resolve(n > 0)) }) });
    const good = draft(Order, "a", { n: 1 }, {}, port(), undefined);
    expect(good).toBeInstanceOf(Promise);
    expect(await good).toMatchObject({ id: "a", payload: { n: 1 } });
    await expect(Promise.resolve(draft(Order, "a", { n: -1 }, {}, port(), undefined))).rejects.toMatchObject({
      code: "INVALID_PAYLOAD",
      outcome: "not-stored",
    });
  });
});

describe("refused before the wire, with the numbers", () => {
  const long = "x".repeat(2000);
  const cases: [string, string, () => unknown, RegExp][] = [
    ["body", "TOO_LARGE", () => build({}, {}, long), /"orders" has a payload of 2002 bytes, above the limit of 1000/],
    ["key", "INVALID_MESSAGE", () => build({ key: "ä".repeat(11) }), /key of 22 bytes, above the limit of 20/],
    ["key surrogate", "INVALID_MESSAGE", () => build({ key: "\ud800" }), /surrogate/],
    ["key type", "INVALID_MESSAGE", () => build({ key: 7 as never }), /key of type number/],
    ["id", "INVALID_MESSAGE", () => build({ id: "a b" }), /has id "a b"/],
    ["id length", "INVALID_MESSAGE", () => build({ id: "a".repeat(129) }), /1 to 128/],
    ["header name", "INVALID_MESSAGE", () => build({ headers: { "a b": "1" } }), /header name "a b"/],
    ["empty name", "INVALID_MESSAGE", () => build({ headers: { "": "1" } }), /header name ""/],
    ["name length", "INVALID_MESSAGE", () => build({ headers: { [long]: "1" } }), /2000 bytes, above the limit of 64/],
    ["reserved", "INVALID_MESSAGE", () => build({ headers: { "Sluice-Id": "1" } }), /reserved/],
    ["reserved, ours", "INVALID_MESSAGE", () => build({ headers: { "sluice-id": "1" } }), /reserved/],
    ["content type", "INVALID_MESSAGE", () => build({ headers: { "Content-Type": "a/b" } }), /codec/],
    ["header value", "INVALID_MESSAGE", () => build({ headers: { a: 1 as never } }), /header "a" of type number/],
    ["header surrogate", "INVALID_MESSAGE", () => build({ headers: { a: "\udfff" } }), /surrogate/],
    [
      "header count",
      "INVALID_MESSAGE",
      () => build({ headers: { a: "", b: "", c: "", d: "" }, expiresAt: new Date(now) }),
      /6 headers, above the limit of 5/,
    ],
    [
      "header bytes",
      "TOO_LARGE",
      () => build({ headers: { a: "é".repeat(300) } }),
      /629 bytes, above the limit of 500/,
    ],
    [
      "JSON",
      "INVALID_PAYLOAD",
      () => build({}, {}, Symbol("x")),
      /"orders" cannot be encoded: JSON cannot hold symbol/,
    ],
    ["BigInt", "INVALID_PAYLOAD", () => build({}, {}, { n: 1n }), /"orders" cannot be encoded/],
    ["both times", "CONFIG", () => build({ delay: 1, deliverAt: new Date(now) }), /both delay and deliverAt/],
    ["delay", "UNSUPPORTED", () => build({ delay: "2m" }), /by 120000 ms, above the limit of 60000 ms/],
    ["delay text", "CONFIG", () => build({ delay: "2 min" as never }), /delay/],
    ["date", "CONFIG", () => build({ deliverAt: new Date("no") }), /deliverAt for "orders" is Invalid Date/],
    ["expiry", "CONFIG", () => build({ expiresAt: 5 as never }), /expiresAt for "orders" is 5/],
    ["priority", "CONFIG", () => build({ priority: 10 }), /priority for "orders" is 10; give an integer from 0 to 9/],
    [
      "no priority",
      "UNSUPPORTED",
      () => build({ priority: 1 }, { capabilities: { priority: "absent" } }),
      /cannot have priorities/,
    ],
    [
      "no headers",
      "UNSUPPORTED",
      () => build({ headers: { a: "b" } }, { capabilities: { headers: "absent" } }),
      /message to "orders" has headers/,
    ],
    [
      "no delay",
      "UNSUPPORTED",
      () => build({ delay: 1 }, { capabilities: { delay: { group: "native", topic: "absent" } } }),
      /no delayed publish/,
    ],
  ];

  test.each(cases)("%s", (_name, code, run, text) => {
    const error = refusal(run);
    expect(error).toMatchObject({ code, outcome: "not-stored" });
    expect(error.message).toMatch(text);
    expect(error.message).toMatch(/^fake: |^sluice: /);
  });

  test("a key function, schema or codec that throws is the payload's fault", () => {
    const broken = (options: object): Topic => topic("orders", options) as Topic;
    const fail = () => {
      throw new Error("mine");
    };
    const codec = { contentType: "a/b", encode: () => "text", decode: fail } as unknown as Codec;
    for (const each of [broken({ key: fail }), broken({ codec })]) {
      const error = refusal(() => toItem(draft(each, "a", 1, {}, port(), undefined) as Draft, {}, port()));
      expect(error.code).toBe("INVALID_PAYLOAD");
    }
  });

  test("schema complaints keep their paths", () => {
    const Order = topic("orders", { schema: z.object({ n: z.number() }) });
    expect(() => draft(Order, "a", { n: "1" } as never, {}, port(), undefined)).toThrow(
      expect.objectContaining({
        code: "INVALID_PAYLOAD",
        outcome: "not-stored",
        issues: [expect.objectContaining({ path: "n" })],
      }),
    );
  });
});

describe("time and priority", () => {
  test("delays are rounded up to the broker's step", () => {
    expect(build({ delay: 1200 }).notBefore).toBe(now + 2000);
    expect(build({ delay: 1200 }, { limits: { delayStepMs: 0 } }).notBefore).toBe(now + 1200);
    expect(build({ deliverAt: new Date(now + 5000) }).notBefore).toBe(now + 5000);
    expect(build({ deliverAt: new Date(now - 5000) }).notBefore).toBeUndefined();
    expect(build({ delay: 0 }).notBefore).toBeUndefined();
  });

  test("the end of use travels as a header", () => {
    expect(build({ expiresAt: new Date(now + 7) }).record.headers["sluice-expires-at"]).toBe(String(now + 7));
  });

  test("priority is a field of the record", () => {
    expect(build({ priority: 0 }).record.priority).toBe(0);
    expect("priority" in build().record).toBe(false);
  });

  test("another codec sets another content type", () => {
    const known = port();
    const note = topic("notes", { codec: text() as Codec });
    const { item } = itemNow(draft(note, "a", "hi", {}, known, undefined) as Draft, {}, known);
    expect(item.record.headers["content-type"]).toBe("text/plain; charset=utf-8");
    expect(item.record.body).toEqual(Buffer.from("hi"));
  });
});
