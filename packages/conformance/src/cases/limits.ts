import assert from "node:assert/strict";
import { type Collector, collector, headerCells } from "../bodies.ts";
import { type Case, defineCase } from "../case.ts";
import { within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { needs, refuses } from "./needs.ts";

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

/** What lies at a limit: whole, or refused at the call. */
export const limits: readonly Case[] = [
  defineCase({
    id: "G-14",
    title: "Hostile headers: whole or refused, never changed",
    rule: "For every name and value: identical on arrival, or INVALID_MESSAGE naming the header. Nothing in between.",
    required: true,
    profile: "standard",
    groupless: true,
    needs: needs.headers,
    async run(context) {
      await headerCells(context, matrix);
      const { headers: most } = context.facts.limits;
      const { bus, seen, arrived, publish } = await collector(context);
      const many = Object.fromEntries(Array.from({ length: Math.min(100, most - 10) }, (_, n) => [`x-${n}`, `${n}`]));
      await publish(Buffer.from("many"), { id: "many", headers: many });
      await arrived("many");
      for (const [name, value] of Object.entries(many)) assert.equal(seen.get("many")?.headers[name], value);
      if (Number.isFinite(most)) {
        const over = Object.fromEntries(Array.from({ length: most + 1 }, (_, n) => [`x-${n}`, ""]));
        await refuses(["INVALID_MESSAGE", "TOO_LARGE"], `${most + 1} headers`, () =>
          publish(Buffer.from("over"), { headers: over }),
        );
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
    groupless: true,
    limitMs: 120_000,
    async run(context) {
      const { bus, seen, arrived, publish } = await collector(context);
      const max = Math.min(context.facts.limits.messageBytes, 20 * 1024 * 1024);
      const sizes = [0, 1, 255, 65_535, 65_536, 65_537, max - 1, max];
      for (const size of sizes) {
        const body = randomBytes(context, size);
        await publish(body, { id: `${context.run}-${size}` });
        await arrived(`${context.run}-${size}`);
        const got = seen.get(`${context.run}-${size}`)?.body;
        assert.ok(got instanceof Uint8Array, `the body of ${size} bytes arrived as ${typeof got}`);
        assert.ok(Buffer.from(got).equals(body), `${size} bytes were changed; ${got.byteLength} arrived`);
        seen.clear();
      }
      if (max === context.facts.limits.messageBytes) await oversize(context, publish, max + 1);
      await publish(Buffer.from("after"), { id: "after" });
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
    groupless: true,
    async run(context) {
      const { bus, arrived, publish } = await collector(context);
      const max = context.facts.limits.messageBytes;
      const sends = Array.from({ length: 100 }, (_, n) => {
        if (n === 50 && Number.isFinite(max)) return oversize(context, publish, max + 1);
        return publish(Buffer.from(`small ${n}`), { id: `${context.run}-${n}` });
      });
      await within(context.limits(100).totalMs, "a hundred publishes, one of them too large", Promise.all(sends));
      for (let n = 0; n < 100; n++) if (n !== 50) await arrived(`${context.run}-${n}`);
      await bus.drain({ deadline: 5_000 });
    },
  }),
];

async function oversize(context: CaseContext, publish: Collector["publish"], size: number): Promise<void> {
  const body = Buffer.alloc(size);
  const error = await refuses("TOO_LARGE", `${size} bytes`, () => publish(body), {
    names: String(context.facts.limits.messageBytes),
  });
  assert.equal(error.outcome, "not-stored", "an oversize message is certainly not stored");
}

function randomBytes(context: CaseContext, size: number): Buffer {
  const body = Buffer.alloc(size);
  for (let index = 0; index < size; index += 97) body[index] = Math.floor(context.random() * 256);
  if (size > 0) body[size - 1] = 0xff;
  return body;
}
