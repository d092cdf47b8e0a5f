/** Messages as programs write them that know nothing of Sluice. */
import assert from "node:assert/strict";
import type { CaseContext } from "./context.ts";
import type { RawClient, RawRecord, RawShape } from "./harness.ts";

interface Foreign {
  readonly what: string;
  readonly needs: readonly RawShape[];
  readonly record: RawRecord;
}

const table: readonly Foreign[] = [
  { what: "a plain text", needs: [], record: { body: Buffer.from("plain text") } },
  { what: "a JSON text", needs: [], record: { body: Buffer.from('{"from": "elsewhere",  "spaces": "kept"}') } },
  { what: "a message with a key", needs: ["key"], record: { key: "customer-7", body: Buffer.from("with a key") } },
  {
    what: "a message with headers",
    needs: ["headers"],
    record: { body: Buffer.from("with headers"), headers: { "x-foreign": "Grüße", "X-Case": "Kept" } },
  },
  { what: "bytes", needs: ["binary-body"], record: { body: Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0x80]) } },
  { what: "an empty body", needs: ["empty-body"], record: { body: Buffer.alloc(0) } },
  { what: "a null body", needs: ["null-body"], record: { body: null } },
  {
    what: "a binary key",
    needs: ["key", "binary-headers"],
    record: { key: Buffer.from([0xfe, 0x01, 0x80]), body: Buffer.from("with a binary key") },
  },
  {
    what: "a binary header",
    needs: ["binary-headers"],
    record: { body: Buffer.from("with a binary header"), headers: { "x-bytes": Buffer.from([0xff, 0x00, 0xc3]) } },
  },
];

/** Those that need nothing but `wanted`, as far as the wire carries it. */
export function foreignMessages(raw: RawClient, wanted: readonly RawShape[]): readonly Foreign[] {
  const able = wanted.filter((shape) => raw.lacks?.includes(shape) !== true);
  return table.filter(({ needs }) => needs.every((shape) => able.includes(shape)));
}

/** What the raw client reads of the one message that `send` sends. */
export async function readRaw(context: CaseContext, topic: string, send: () => Promise<unknown>): Promise<RawRecord> {
  const reader = await context.raw.consume(topic);
  try {
    const problem = await send();
    assert.equal(problem, undefined, String(problem));
    const [record] = await reader.read(1, context.limits().idleMs);
    assert.ok(record, "the raw client read nothing");
    return record;
  } finally {
    await reader.close();
  }
}

/** Every message is there with key, body and headers as the raw client itself reads the original. */
export function sameForeign(written: readonly RawRecord[], found: readonly RawRecord[], when: string): void {
  const left = [...found];
  for (const record of written) {
    const match = left.findIndex((each) => holds(each, record));
    assert.ok(match >= 0, `${when}: nothing holds ${show(record)}; there are\n${left.map(show).join("\n")}`);
    left.splice(match, 1);
  }
  assert.equal(left.length, 0, `${when}: more came than was written`);
}

/** n.b. null and empty differ only where the broker tells them apart, and then for both readers. */
function holds(found: RawRecord, original: RawRecord): boolean {
  const headers = Object.entries(original.headers ?? {});
  return (
    hex(found.body) === hex(original.body) &&
    hex(found.key ?? null) === hex(original.key ?? null) &&
    headers.every(([name, value]) => hex(found.headers?.[name] ?? null) === hex(value))
  );
}

function hex(value: Uint8Array | string | null): string {
  return value === null ? "null" : `x${Buffer.from(value).toString("hex")}`;
}

function show(record: RawRecord): string {
  const headers = Object.entries(record.headers ?? {}).map(([name, value]) => `${name}=${hex(value)}`);
  return `  key ${hex(record.key ?? null)} body ${hex(record.body)} ${headers.join(" ")}`;
}
