import { readFileSync } from "node:fs";
import type { Chance } from "./chance.ts";
import type { Sample, Target } from "./target.ts";

/**
 * `texts` break what was written for well-behaved ones; `names` of headers every reader may meet, whoever wrote them; `pieces` are
 * lengths, counts and markers of the formats at hand, in hex.
 */
const { texts, names, pieces } = JSON.parse(readFileSync(new URL("hostile.json", import.meta.url), "utf8")) as {
  readonly [list in "texts" | "names" | "pieces"]: readonly string[];
};

/** Made when needed: long ones. Whoever walks them twice for each character stalls. */
const long: readonly ((length: number) => string)[] = [
  (length) => "a".repeat(length),
  (length) => " ".repeat(length) + "x",
  (length) => ",".repeat(length),
  (length) => "=;".repeat(length / 2),
  (length) => "a=b,".repeat(length / 4),
  (length) => "[".repeat(length),
  (length) => '{"a":'.repeat(length / 5),
  (length) => `{"a":${"[".repeat(length / 2)}${"]".repeat(length / 2)}}`,
  (length) => "0".repeat(length) + "1",
  (length) => "\t ".repeat(length / 2) + "\u0000",
  (length) => "%41".repeat(length / 3),
  (length) => "\\u0041".repeat(length / 6),
  (length) => "a.".repeat(length / 2),
  (length) => "a/".repeat(length / 2) + "!",
  (length) => "-".repeat(length),
  (length) => "é".repeat(length / 2),
  (length) => `"${"\\".repeat(length)}`,
];

export function hostileText(chance: Chance): string {
  if (chance.once(12)) return chance.pick(long)(chance.pick([16, 300, 2000, 9000, 40_000]));
  if (chance.once(6)) return chance.bytes(40).toString(chance.pick(["latin1", "utf8", "base64", "hex"] as const));
  if (chance.once(6)) return String(chance.pick([0, 1, 2 ** 31, 2 ** 53, -(2 ** 31)]) + chance.below(7) - 3);
  return chance.pick(texts);
}

/** Of what is repeated: nobody needs more to find a stall. */
const mostBytes = 64 * 1024;

/** A hostile input for a target: one of its golden ones with a few things wrong, or something made up. */
export function hostile(target: Target, seed: number, chance: Chance): Sample {
  const golden = chance.pick(target.golden);
  const kind = chance.below(20);
  // Some bytes stay as they are: what is wrong is in the headers then, or behind the first check of the body.
  const json = kind > 9 ? otherJson(golden.bytes, chance) : undefined;
  const bytes = kind === 0 ? madeUp(chance) : kind < 3 ? golden.bytes : (json ?? mutated(golden.bytes, target, chance));
  return { bytes, headers: otherHeaders(golden.headers, target.names ?? [], chance), seed };
}

/** JSON that is still JSON, and says something else; `undefined` where it was none. */
function otherJson(golden: Buffer, chance: Chance): Buffer | undefined {
  if (golden[0] !== 0x7b && golden[0] !== 0x5b) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(golden.toString());
  } catch {
    return undefined;
  }
  for (let left = 1 + chance.below(2); left > 0; left--) value = otherValue(value, chance, 0);
  return Buffer.from(JSON.stringify(value));
}

function otherValue(value: unknown, chance: Chance, depth: number): unknown {
  if (typeof value !== "object" || value === null || chance.once(5)) return madeUpValue(value, chance, depth);
  const entries = Object.entries(value as object);
  const at = chance.below(entries.length + 1);
  const [name, old] = entries[at] ?? [chance.once(2) ? hostileText(chance) : "0", undefined];
  if (Array.isArray(value))
    return chance.once(6)
      ? [...value, ...value]
      : replaced(value, Math.min(at, value.length - 1), otherValue(old, chance, depth + 1));
  const changed = chance.once(6)
    ? []
    : [[chance.once(9) ? hostileText(chance) : name, otherValue(old, chance, depth + 1)]];
  // n.b. Defines `__proto__` as a member like any other.
  return Object.fromEntries([...entries.filter((_, index) => index !== at), ...changed] as [string, unknown][]);
}

function replaced(list: readonly unknown[], at: number, value: unknown): unknown[] {
  return at < 0 ? [value] : list.map((each, index) => (index === at ? value : each));
}

function madeUpValue(old: unknown, chance: Chance, depth: number): unknown {
  const text = hostileText(chance);
  const deep = () => JSON.parse(`${"[".repeat(2000)}${"]".repeat(2000)}`) as unknown;
  switch (chance.below(10)) {
    case 0:
      return chance.pick([null, true, {}, [], 0, -1, 1.5, 1e300, 2 ** 53, ""]);
    case 1:
      return [old];
    case 2:
      return { [text.slice(0, 50)]: old };
    case 3:
      return depth > 0 && chance.once(4) ? deep() : text;
    case 4: {
      const length = JSON.stringify(old ?? null).length;
      return Array.from({ length: Math.min(chance.pick([3, 300, 3000]), Math.floor(mostBytes / length)) }, () => old);
    }
    case 5:
      return JSON.stringify(old ?? null);
    default:
      return text;
  }
}

function madeUp(chance: Chance): Buffer {
  return chance.once(2) ? chance.bytes(chance.pick([0, 1, 8, 64, 600])) : Buffer.from(hostileText(chance));
}

function otherHeaders(golden: Sample["headers"], own: readonly string[], chance: Chance): Sample["headers"] {
  const headers: Record<string, string> = Object.assign(Object.create(null) as Record<string, string>, golden);
  for (let left = chance.below(4); left > 0; left--) {
    const known = Object.keys(headers);
    const name =
      known.length > 0 && chance.once(2)
        ? chance.pick(known)
        : chance.pick(chance.once(2) ? [...own, ...names] : names);
    if (chance.once(6)) delete headers[name];
    else headers[name] = chance.once(3) ? damagedText(headers[name] ?? "", chance) : hostileText(chance);
  }
  return headers;
}

function damagedText(text: string, chance: Chance): string {
  return damaged(Buffer.from(text), Buffer.from(hostileText(chance)), chance).toString(
    chance.once(2) ? "utf8" : "latin1",
  );
}

function mutated(golden: Buffer, target: Target, chance: Chance): Buffer {
  let bytes = golden;
  for (let left = 1 + chance.below(4); left > 0; left--) {
    bytes = damaged(
      bytes,
      chance.once(3) ? chance.pick(target.golden).bytes : Buffer.from(hostileText(chance)),
      chance,
    );
  }
  return bytes;
}

function damaged(bytes: Buffer, other: Buffer, chance: Chance): Buffer {
  const at = chance.below(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + chance.below(chance.once(3) ? 64 : 4));
  switch (chance.below(8)) {
    case 0: {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << chance.below(8));
      return copy;
    }
    case 1:
      return bytes.subarray(0, at);
    case 2:
      return bytes.subarray(at);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
    case 4:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from(chance.pick(pieces), "hex"), bytes.subarray(at)]);
    case 5:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from(chance.pick(pieces), "hex"), bytes.subarray(end)]);
    case 6:
      return repeated(bytes, at, end, chance);
    default: {
      const from = chance.below(other.length + 1);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(from), bytes.subarray(end)]);
    }
  }
}

/** Nesting, and counts that are true. */
function repeated(bytes: Buffer, at: number, end: number, chance: Chance): Buffer {
  const piece = bytes.subarray(at, end);
  if (piece.length === 0) return bytes;
  const times = Math.min(chance.pick([2, 10, 200, 5000]), Math.floor(mostBytes / piece.length));
  return Buffer.concat([bytes.subarray(0, at), ...Array.from({ length: times }, () => piece), bytes.subarray(end)]);
}
