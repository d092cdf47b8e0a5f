import assert from "node:assert/strict";
import { bytes, topic as declareTopic } from "@sluice/core";
import { type Case, defineCase } from "../case.ts";
import { pause, within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { conserve, effects, publishAll, publishOne, quickRetry, subscribe } from "../flow.ts";
import type { RawRecord } from "../harness.ts";
import { makeItems } from "../payload.ts";
import { needs, refuses } from "./needs.ts";

/** Header values that other systems have mangled. */
const weird: readonly (readonly [name: string, value: string])[] = [
  ["x-slash", "a/b//c/../d\\e\\\\f"],
  ["x-quote", `"double" 'single' \`back\``],
  ["x-space", "a b  c"],
  ["x-digits", "0123456789"],
  ["x-latin", "Grüße, naïve façade"],
  ["x-greek", "αβγδε"],
  ["x-cjk", "日本語 한국어"],
  ["x-emoji", "👩‍👩‍👧‍👦 🦊"],
  ["x-ascii", Array.from({ length: 95 }, (_, code) => String.fromCharCode(32 + code)).join("")],
];

const matrix: readonly (readonly [name: string, value: string])[] = [
  ["x-empty", ""],
  ["x-one-space", " "],
  ["x-around", "  around  "],
  ["x-crlf", "line one\r\nline two"],
  ["x-nul", "before\u0000after"],
  ["x-control", Array.from({ length: 31 }, (_, code) => String.fromCharCode(code + 1)).join("")],
  ["x-nfc", "\u00e9"],
  ["x-nfd", "e\u0301"],
  ["x-rtl", "שלום עולם"],
  ["x-1k", "a".repeat(1_024)],
  ["x-8k", "b".repeat(8_192)],
  ["x-60k", "c".repeat(60_000)],
  ["x-200k", "d".repeat(200_000)],
  ["x-multibyte-edge", `${"e".repeat(254)}€`],
  ["__proto__", "polluted"],
  ["constructor", "polluted"],
  ["x", "one character"],
  ["a".repeat(255), "a name of 255"],
  ["b".repeat(256), "a name of 256"],
  ["X-Upper", "upper case"],
  ["x:colon", "colon"],
  ["x.dot", "dot"],
  ["traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
];

/** A topic of raw bytes whose single subscription collects what comes. */
async function collector(context: CaseContext) {
  const bus = await context.connect();
  const topic = declareTopic(context.name(), { codec: bytes(), shards: 4 });
  const seen = new Map<string, { readonly body: Uint8Array; readonly headers: Readonly<Record<string, string>> }>();
  const wakers = new Set<() => void>();
  await bus.subscribe(topic, { group: "g", retry: quickRetry }, (body, { message }) => {
    seen.set(message.id, { body: body as Uint8Array, headers: message.headers });
    for (const wake of [...wakers]) wake();
  });
  const arrived = (id: string) =>
    within(
      context.limits().idleMs,
      `message ${id.slice(0, 60)} arrives`,
      new Promise<void>((resolve) => {
        const check = () => {
          if (!seen.has(id)) return;
          wakers.delete(check);
          resolve();
        };
        wakers.add(check);
        check();
      }),
    );
  return { bus, topic, seen, arrived };
}

/** Each header either arrives byte for byte, or the publish rejects with INVALID_MESSAGE or TOO_LARGE naming it. */
async function headerCells(
  context: CaseContext,
  cells: readonly (readonly [string, string])[],
): Promise<{ carried: number; refused: string[] }> {
  const { bus, topic, seen, arrived } = await collector(context);
  const refused: string[] = [];
  const sent: { id: string; name: string; value: string }[] = [];
  for (const [index, [name, value]] of cells.entries()) {
    const id = `${context.run}-${index}`;
    const headers = Object.fromEntries([[name, value]]);
    try {
      await bus.publish(topic, Buffer.from("body"), { id, headers });
      sent.push({ id, name, value });
    } catch {
      const names = name.slice(0, 20);
      const codes = ["INVALID_MESSAGE", "TOO_LARGE"] as const;
      await refuses(codes, `header ${names}`, () => bus.publish(topic, Buffer.from("body"), { id, headers }), { names });
      refused.push(name);
    }
  }
  for (const { id, name, value } of sent) {
    await arrived(id);
    const { headers = {} } = seen.get(id) ?? {};
    assert.ok(Object.hasOwn(headers, name), `header ${name.slice(0, 40)} is missing; there are ${Object.keys(headers).join(", ").slice(0, 200)}`);
    assert.equal(headers[name], value, `header ${name.slice(0, 40)} was changed`);
  }
  assert.equal(Object.hasOwn(Object.prototype, "polluted"), false);
  assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
  await bus.drain({ deadline: 5_000 });
  return { carried: sent.length, refused };
}

export const payload: readonly Case[] = [
  defineCase({
    id: "PL-01",
    title: "Header values arrive as they are",
    rule: "Every text that is legal in a header arrives byte for byte.",
    required: true,
    profile: "smoke",
    needs: needs.headers,
    async run(context) {
      const { refused } = await headerCells(context, weird);
      assert.deepEqual(refused, [], "refused although harmless");
    },
    async inverse(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const [item] = makeItems(context.run, 1);
      assert.ok(item);
      await refuses("UNSUPPORTED", "a header", () => bus.publish(topic, item, { headers: { a: "b" } }));
    },
  }),
  defineCase({
    id: "PL-02",
    title: "A header that is not text is refused at the call",
    rule: "A lone surrogate, in a name or a value, is INVALID_MESSAGE naming the header; the next publish works.",
    required: true,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "g" });
      const [first, second] = makeItems(context.run, 2);
      assert.ok(first && second);
      const value = () => bus.publish(topic, first, { headers: { "x-broken": "a\ud800b" } });
      await refuses("INVALID_MESSAGE", "a lone surrogate in a value", value, { names: "x-broken" });
      const name = () => bus.publish(topic, first, { headers: { "x-\udfff": "a" } });
      await refuses("INVALID_MESSAGE", "a lone surrogate in a name", name);
      const reserved = () => bus.publish(topic, first, { headers: { "sluice-attempts": "9" } });
      await refuses("INVALID_MESSAGE", "a reserved name", reserved, { names: "sluice-attempts" });
      await publishOne(context.ledger, context.run, bus, topic, second);
      await effects(context, topic, "g", 1);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "PL-03",
    title: "A body of any bytes arrives byte for byte",
    rule: "Bodies are bytes: what is not UTF-8 is not touched.",
    required: true,
    profile: "smoke",
    async run(context) {
      const { bus, topic, seen, arrived } = await collector(context);
      const bodies = [
        Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0x80]),
        Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
        Buffer.from("PK\u0003\u0004 not a text", "latin1"),
      ];
      for (const [index, body] of bodies.entries()) {
        await bus.publish(topic, body, { id: `${context.run}-${index}` });
      }
      for (const [index, body] of bodies.entries()) {
        await arrived(`${context.run}-${index}`);
        assert.deepEqual(Buffer.from(seen.get(`${context.run}-${index}`)?.body ?? []), body);
      }
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "PL-06",
    title: "Ids are kept, or made",
    rule: "A given id reaches the handler and the receipt; without one every message gets its own.",
    required: true,
    profile: "smoke",
    async run(context) {
      const { bus, topic, seen, arrived } = await collector(context);
      const given = await bus.publish(topic, Buffer.from("a"), { id: "order/42:a%b" });
      assert.equal(given.id, "order/42:a%b");
      await arrived("order/42:a%b");
      const made = await Promise.all(Array.from({ length: 20 }, () => bus.publish(topic, Buffer.from("b"))));
      assert.equal(new Set(made.map((receipt) => receipt.id)).size, 20, "made ids repeat");
      for (const { id } of made) await arrived(id);
      assert.equal(seen.size, 21);
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "PL-07",
    title: "What cannot be decoded goes to the dead letters, and the next message flows",
    rule: "Poison bytes of a foreign producer never reach the handler and never stop the consumer.",
    required: true,
    profile: "smoke",
    uses: ["raw"],
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "g" });
      const poison = [
        { body: Buffer.from("{ not json") },
        { body: Buffer.from([0xff, 0xfe, 0x00, 0x80]) },
        { body: Buffer.alloc(0) },
        { body: Buffer.from("broken"), headers: { "x-binary": Buffer.from([0xff, 0xfe, 0xfd]) } },
      ];
      await context.raw.produce(topic.name, poison);
      await publishAll(context, bus, topic, makeItems(context.run, 10, { keys: 10 }));
      await effects(context, topic, "g", 10);
      const dead = await untilDead(context, topic.name, "g", poison.length);
      for (const record of dead) assert.equal(headerOf(record.headers, "dlq-reason"), "invalid");
      const bodies = dead.map((record) => Buffer.from(record.body ?? []).toString("hex")).sort();
      assert.deepEqual(bodies, poison.map(({ body }) => body.toString("hex")).sort(), "the original bytes are kept");
      assert.equal(context.journal.total("handler-start", topic.name, "g"), 10, "the handler saw a poison message");
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "PL-08",
    title: "What a failing handler changed is not visible in its next attempt",
    rule: "Every attempt sees the message as it was published.",
    required: false,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const seen: { attempt: number; header: string | undefined; padding: string }[] = [];
      const retry = { ...quickRetry, attempts: 4, inPlace: 0 };
      await subscribe(context, bus, topic, { group: "g", retry }, (item, { message }) => {
        seen.push({ attempt: message.attempt, header: message.headers["x-mark"], padding: item.padding });
        try {
          Object.assign(message.headers, { "x-mark": "changed", "x-new": "added" });
          Object.assign(item, { padding: "changed" });
        } catch {
          // Frozen: then nothing can be visible later.
        }
        if (message.attempt < 3) throw new Error("fails after changing its message");
        Object.assign(item, { padding: seen[0]?.padding });
      });
      const [item] = makeItems(context.run, 1);
      assert.ok(item);
      await publishOne(context.ledger, context.run, bus, topic, item, { headers: { "x-mark": "original" } });
      await effects(context, topic, "g", 1);
      await bus.drain({ deadline: 5_000 });
      assert.deepEqual(
        seen,
        [1, 2, 3].map((attempt) => ({ attempt, header: "original", padding: item.padding })),
      );
    },
  }),
  defineCase({
    id: "PL-09",
    title: "The attempt number starts at 1 and counts every run",
    rule: "attempt is exact in place and over the group's own entry.",
    required: true,
    profile: "smoke",
    async run(context) {
      const bus = await context.connect();
      for (const inPlace of [0, 2_000]) {
        const topic = context.topic();
        const attempts: number[] = [];
        const retry = { attempts: 10, firstDelay: 5, factor: 1, maxDelay: 5, inPlace };
        await subscribe(context, bus, topic, { group: "g", retry }, (_, handling) => {
          attempts.push(handling.message.attempt);
          if (handling.message.attempt === 2) return handling.retry();
          if (handling.message.attempt < 4) throw new Error("fails three times");
        });
        await publishAll(context, bus, topic, makeItems(context.run, 1));
        await effects(context, topic, "g", 1);
        assert.deepEqual(attempts, [1, 2, 3, 4], `attempts ${attempts.join(", ")} with inPlace ${inPlace}`);
        await conserve(context, topic, "g");
      }
    },
  }),
  defineCase({
    id: "G-14",
    title: "Hostile headers: whole or refused, never changed",
    rule: "For every name and value: identical on arrival, or INVALID_MESSAGE naming the header. Nothing in between.",
    required: true,
    profile: "standard",
    needs: needs.headers,
    async run(context) {
      await headerCells(context, matrix);
      const { headers: most } = context.facts.limits;
      const { bus, topic, seen, arrived } = await collector(context);
      const many = Object.fromEntries(Array.from({ length: Math.min(100, most - 10) }, (_, n) => [`x-${n}`, `${n}`]));
      await bus.publish(topic, Buffer.from("many"), { id: "many", headers: many });
      await arrived("many");
      for (const [name, value] of Object.entries(many)) assert.equal(seen.get("many")?.headers[name], value);
      if (Number.isFinite(most)) {
        const over = Object.fromEntries(Array.from({ length: most + 1 }, (_, n) => [`x-${n}`, ""]));
        await refuses(["INVALID_MESSAGE", "TOO_LARGE"], `${most + 1} headers`, () => bus.publish(topic, Buffer.from("over"), { headers: over }));
      }
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "G-15",
    title: "Bodies from nothing to the limit",
    rule: "Up to the limit a body arrives byte for byte; one byte more is TOO_LARGE with both numbers, and nothing else is harmed.",
    required: true,
    profile: "standard",
    limitMs: 120_000,
    async run(context) {
      const { bus, topic, seen, arrived } = await collector(context);
      const max = Math.min(context.facts.limits.messageBytes, 20 * 1024 * 1024);
      const sizes = [0, 1, 255, 65_535, 65_536, 65_537, max - 1, max];
      for (const size of sizes) {
        const body = randomBytes(context, size);
        await bus.publish(topic, body, { id: `${context.run}-${size}` });
        await arrived(`${context.run}-${size}`);
        const got = seen.get(`${context.run}-${size}`)?.body;
        assert.ok(got instanceof Uint8Array, `the body of ${size} bytes arrived as ${typeof got}`);
        assert.ok(Buffer.from(got).equals(body), `${size} bytes were changed; ${got.byteLength} arrived`);
        seen.clear();
      }
      if (max === context.facts.limits.messageBytes) await oversize(context, bus, topic, max + 1);
      await bus.publish(topic, Buffer.from("after"), { id: "after" });
      await arrived("after");
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "G-29",
    title: "One oversize message among a hundred",
    rule: "An oversize publish fails alone; the others in flight succeed.",
    required: true,
    profile: "standard",
    async run(context) {
      const { bus, topic, arrived } = await collector(context);
      const max = context.facts.limits.messageBytes;
      const sends = Array.from({ length: 100 }, (_, n) => {
        if (n === 50 && Number.isFinite(max)) return oversize(context, bus, topic, max + 1);
        return bus.publish(topic, Buffer.from(`small ${n}`), { id: `${context.run}-${n}` });
      });
      await within(context.limits(100).totalMs, "a hundred publishes, one of them too large", Promise.all(sends));
      for (let n = 0; n < 100; n++) if (n !== 50) await arrived(`${context.run}-${n}`);
      await bus.drain({ deadline: 5_000 });
    },
  }),
];

async function oversize(context: CaseContext, bus: Awaited<ReturnType<typeof collector>>["bus"], topic: Awaited<ReturnType<typeof collector>>["topic"], size: number): Promise<void> {
  const body = Buffer.alloc(size);
  const error = await refuses("TOO_LARGE", `${size} bytes`, () => bus.publish(topic, body), { names: String(context.facts.limits.messageBytes) });
  assert.equal(error.outcome, "not-stored", "an oversize message is certainly not stored");
}

function randomBytes(context: CaseContext, size: number): Buffer {
  const body = Buffer.alloc(size);
  for (let index = 0; index < size; index += 97) body[index] = Math.floor(context.random() * 256);
  if (size > 0) body[size - 1] = 0xff;
  return body;
}

/** A raw header as text. */
export function headerOf(headers: Readonly<Record<string, string | Uint8Array>> | undefined, name: string): string | undefined {
  const value = headers?.[name];
  return value === undefined || typeof value === "string" ? value : Buffer.from(value).toString();
}

/** Waits until the group has so many dead letters; resolves to them. */
export async function untilDead(
  context: CaseContext,
  topic: string,
  group: string,
  count: number,
): Promise<readonly RawRecord[]> {
  let records = await context.raw.deadLetters(topic, group);
  const find = async () => {
    while ((records = await context.raw.deadLetters(topic, group)).length < count) await pause(50);
    return records;
  };
  const found = await within(context.limits().idleMs, `${count} dead letters of ${group}`, find(), () => `there are ${records.length}\n${context.journal.tail()}`);
  assert.equal(found.length, count, "more dead letters than expected");
  return found;
}
