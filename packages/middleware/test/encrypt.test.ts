import { randomBytes } from "node:crypto";
import { connect, isSluiceError, topic, UnavailableError } from "@sluice/core";
import { memory } from "@sluice/memory";
import { describe, expect, test } from "vitest";
import { claimCheck, type ClaimStore, encrypt } from "../src/index.ts";
import { incoming, outgoing, textOf, wireMessage } from "./wire-support.ts";

const first = randomBytes(32);
const second = randomBytes(32);

function keyring(current = "k1", all: Record<string, Uint8Array> = { k1: first, k2: second }) {
  const asked: string[] = [];
  return { current, asked, get: (id: string) => (asked.push(id), Object.hasOwn(all, id) ? all[id] : undefined) };
}

const secret = encrypt({ keys: keyring() });

const unexpected = () => Promise.reject(new Error("nobody should call it"));
const noStore: ClaimStore = {
  base: "claim:",
  put: unexpected,
  get: unexpected,
  delete: unexpected,
  list: async function* () {},
};

async function refusal(run: Promise<unknown>): Promise<Error> {
  const error: unknown = await run.then(
    () => expect.fail("it was accepted"),
    (reason: unknown) => reason,
  );
  expect(isSluiceError(error, "INVALID_PAYLOAD")).toBe(true);
  return error as Error;
}

test("there and back; every time other bytes", async () => {
  const one = await outgoing([secret], wireMessage());
  const two = await outgoing([secret], wireMessage());
  expect({ ...one.headers }).toEqual({ encryption: "aes-256-gcm", "encryption-key": "k1" });
  expect(one.body?.byteLength).toBe(12 + '{"a":1}'.length + 16);
  expect(one.body).not.toEqual(two.body);
  expect(Buffer.from(one.body ?? []).includes('"a"')).toBe(false);
  const got = await incoming([secret], one);
  expect(textOf(got.body)).toBe('{"a":1}');
  expect({ ...got.headers }).toEqual({});
});

test("a tombstone and an empty body", async () => {
  expect((await incoming([secret], await outgoing([secret], wireMessage({ body: null })))).body).toBeNull();
  const empty = await outgoing([secret], wireMessage({ body: new Uint8Array() }));
  expect((await incoming([secret], empty)).body).toHaveLength(0);
});

describe("rotation", () => {
  test("new messages get the new key, old ones stay readable", async () => {
    const keys = keyring();
    const middleware = [encrypt({ keys })];
    const old = await outgoing(middleware, wireMessage());
    keys.current = "k2";
    const fresh = await outgoing(middleware, wireMessage());
    expect(fresh.headers["encryption-key"]).toBe("k2");
    for (const sent of [old, fresh]) expect(textOf((await incoming(middleware, sent)).body)).toBe('{"a":1}');
    expect(keys.asked).toEqual(["k1", "k2"]);
  });

  test("a key is asked for once at a time, and again after a while", async () => {
    let now = 0;
    const runtime = { monotonicMs: () => now } as never;
    const keys = keyring();
    const middleware = [encrypt({ keys, keepKeys: "1m", runtime })];
    await Promise.all([1, 2, 3].map(() => outgoing(middleware, wireMessage())));
    expect(keys.asked).toEqual(["k1"]);
    now = 60_001;
    await outgoing(middleware, wireMessage());
    expect(keys.asked).toEqual(["k1", "k1"]);
  });

  test("ids that somebody made up do not stay", async () => {
    const keys = keyring();
    const sent = await outgoing([secret], wireMessage());
    for (const id of ["x", "x", "__proto__"]) {
      sent.headers["encryption-key"] = id;
      expect((await refusal(incoming([encrypt({ keys })], sent))).message).toContain(
        `key "${id}", which does not exist`,
      );
    }
    expect(keys.asked).toHaveLength(3);
  });
});

const sent = await outgoing([secret], wireMessage());

describe("is refused", () => {
  const body = Buffer.from(sent.body ?? []);
  const flipped = (at: number) => {
    const copy = Buffer.from(body);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  };
  test.each<[string, object]>([
    ["a changed nonce", { body: flipped(0) }],
    ["a changed text", { body: flipped(14) }],
    ["a changed tag", { body: flipped(body.length - 1) }],
    ["a cut tag", { body: body.subarray(0, -1) }],
    ["too few bytes", { body: body.subarray(0, 27) }],
    ["nothing", { body: null }],
    ["another message's body", { id: "m-2" }],
    ["another topic's body", { topic: "refunds" }],
    ["another key under its id", { headers: { ...sent.headers, "encryption-key": "k2" } }],
    ["no key id", { headers: { encryption: "aes-256-gcm" } }],
    ["another algorithm", { headers: { ...sent.headers, encryption: "rot13" } }],
    ["plaintext", { body: Buffer.from("{}"), headers: {} }],
  ])("%s", async (_, changes) => {
    const error = await refusal(incoming([secret], wireMessage({ ...sent, ...changes })));
    expect(error.message).toMatch(/^encrypt: message m-\d of topic "/);
  });
});

test("topics that are not secret, and producers that do not encrypt yet", async () => {
  const some = encrypt({ keys: keyring(), topics: [topic("cards")] });
  const plain = await outgoing([some], wireMessage());
  expect(textOf(plain.body)).toBe('{"a":1}');
  expect(textOf((await incoming([some], plain)).body)).toBe('{"a":1}');
  const card = await outgoing([some], wireMessage({ topic: "cards" }));
  expect(card.headers).toHaveProperty("encryption");
  await refusal(incoming([some], wireMessage({ topic: "cards" })));
  const lenient = encrypt({ keys: keyring(), plaintext: "accept" });
  expect(textOf((await incoming([lenient], plain)).body)).toBe('{"a":1}');
});

describe("a message that goes on with the headers of another one", () => {
  const { headers } = sent;

  test("to a topic that is not secret", async () => {
    const some = encrypt({ keys: keyring(), topics: [topic("cards")] });
    const forwarded = await outgoing([some], wireMessage({ headers }));
    expect({ ...forwarded.headers }).toEqual({});
    expect(textOf((await incoming([some], forwarded)).body)).toBe('{"a":1}');
  });

  test("as a tombstone", async () => {
    const forwarded = await outgoing([secret], wireMessage({ headers, body: null }));
    expect({ ...forwarded.headers }).toEqual({});
    expect((await incoming([secret], forwarded)).body).toBeNull();
  });

  test("encrypted anew", async () => {
    const forwarded = await outgoing([encrypt({ keys: keyring("k2") })], wireMessage({ headers }));
    expect(forwarded.headers["encryption-key"]).toBe("k2");
    expect(textOf((await incoming([secret], forwarded)).body)).toBe('{"a":1}');
  });
});

test("after claimCheck, which has stored the body as it was: refused, and the right order is named", async () => {
  const stored: Uint8Array[] = [];
  const store = { ...noStore, put: async (_: string, body: Uint8Array) => void stored.push(body) };
  const check = claimCheck(store, { threshold: 5 });
  const wrong = await outgoing([check, secret], wireMessage()).catch((error: unknown) => error);
  expect(wrong).toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining("put encrypt before claimCheck: wire: [cloudEvents(…)") as string,
  });
  expect((await outgoing([secret, check], wireMessage())).headers).toHaveProperty("dataref");
  expect(stored.map((body) => textOf(body)?.includes('"a"'))).toEqual([true, false]);
  const some = encrypt({ keys: keyring(), topics: [topic("cards")] });
  expect((await outgoing([check, some], wireMessage())).headers).toHaveProperty("dataref");
});

describe("keys that cannot be had", () => {
  test("the service is down: unavailable, not invalid", async () => {
    let down = true;
    const keys = {
      current: "k1",
      get: async () => {
        if (down) throw new Error("connection refused");
        return first;
      },
    };
    const middleware = [encrypt({ keys })];
    const sending = outgoing(middleware, wireMessage());
    await expect(sending).rejects.toThrow(UnavailableError);
    await expect(sending).rejects.toThrow('encrypt: key "k1" cannot be got now');
    down = false;
    expect(textOf((await incoming(middleware, await outgoing(middleware, wireMessage()))).body)).toBe('{"a":1}');
  });

  test.each([["no key", {}, "CONFIG"]])("publishing with %s", async (_, all, code) => {
    await expect(outgoing([encrypt({ keys: keyring("k1", all) })], wireMessage())).rejects.toMatchObject({ code });
  });

  test.each(["constructor", "toString", "k3"])("what is no key, of a plain object: %s", async (id) => {
    const table: Record<string, Uint8Array> = { k1: first, k3: null as never };
    const plain = encrypt({ keys: { current: "k1", get: (each) => table[each] } });
    const made = await outgoing([plain], wireMessage());
    made.headers["encryption-key"] = id;
    expect((await refusal(incoming([plain], made))).message).toContain(`key "${id}", which does not exist`);
  });

  test("a key of another length waits until it is right", async () => {
    const short = encrypt({ keys: keyring("k1", { k1: randomBytes(16) }) });
    await expect(outgoing([short], wireMessage())).rejects.toThrow("is not 32 bytes");
  });

  test("an id that is no header value", async () => {
    expect(() => encrypt({ keys: keyring("schlüssel") }).outgoing?.(wireMessage())).toThrow(
      expect.objectContaining({ code: "CONFIG" }),
    );
  });

  test("on a bus: without its key a message is a dead letter with its encrypted bytes; with it, a redrive reads it", async () => {
    const Orders = topic<{ n: number }>("orders");
    const all: Record<string, Uint8Array> = { k1: first };
    const bus = await connect(memory(), { middleware: { wire: [encrypt({ keys: keyring("k1", all), keepKeys: 0 })] } });
    const seen: unknown[] = [];
    const subscription = await bus.subscribe(Orders, { group: "g" }, (payload) => void seen.push(payload));
    for (const lost of [{}, { k1: second }]) {
      subscription.pause();
      await bus.publish(Orders, { n: 1 });
      Object.assign(all, { k1: undefined }, lost);
      const dead = bus.settled(Orders, { fate: "dead-letter" });
      subscription.resume();
      expect(await dead).toMatchObject({ reason: "invalid" });
      const { letters } = await bus.deadLetters(Orders, { group: "g" }).list();
      expect(letters[0]).toMatchObject({ reason: "invalid", headers: { "encryption-key": "k1" } });
      expect(letters[0]?.body).toHaveLength(12 + '{"n":1}'.length + 16);
      all["k1"] = first;
      const done = bus.settled(Orders, { fate: "done" });
      await bus.deadLetters(Orders, { group: "g" }).redrive();
      await done;
    }
    expect(seen).toEqual([{ n: 1 }, { n: 1 }]);
    await bus.close();
  });

  test("on a bus: an outage holds the message, and then it is handled on its first attempt", async () => {
    const Orders = topic<{ n: number }>("orders");
    let state: "up" | "down" = "up";
    const asked = Promise.withResolvers<void>();
    const keys = {
      current: "k1",
      get(id: string) {
        if (state === "up") return first;
        asked.resolve();
        throw new Error(`no ${id} now`);
      },
    };
    const bus = await connect(memory(), { middleware: { wire: [encrypt({ keys, keepKeys: 0 })] } });
    const attempts: number[] = [];
    const subscription = await bus.subscribe(
      Orders,
      { group: "g" },
      (_, { message }) => void attempts.push(message.attempt),
    );
    subscription.pause();
    await bus.publish(Orders, { n: 1 });
    state = "down";
    const done = bus.settled(Orders, { fate: "done" });
    subscription.resume();
    await asked.promise;
    const failed: unknown = await bus.publish(Orders, { n: 2 }).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: "UNAVAILABLE", outcome: "not-stored" });
    state = "up";
    await done;
    expect(attempts).toEqual([1]);
    await bus.close();
  });
});
