import { createHash } from "node:crypto";

/** The kit's message: names itself, counts per key, and carries a hash over everything. */
export interface Item {
  readonly run: string;
  readonly producer: string;
  readonly key: string;
  /** Per producer and key, from 1. */
  readonly n: number;
  readonly padding: string;
  readonly hash: string;
}

/** Header that names the run: strangers of an earlier run are counted, never silently accepted. */
export const runHeader = "conformance-run";

export interface ItemOptions {
  /** Different keys, taken in turn. @default 1 */
  readonly keys?: number;
  /** First word of every key. @default 'k' */
  readonly prefix?: string;
  readonly producer?: string;
  /** Bytes of padding. @default 32 */
  readonly padding?: number;
  /** Messages of every key that exist already. @default 0 */
  readonly after?: number;
}

/** `count` items over `keys` keys in turn, each key counted from 1. */
export function makeItems(run: string, count: number, options: ItemOptions = {}): Item[] {
  const { keys = 1, prefix = "k", producer = "p", padding = 32, after = 0 } = options;
  return Array.from({ length: count }, (_, index) => {
    const base = {
      run,
      producer,
      key: `${prefix}${index % keys}`,
      n: after + Math.floor(index / keys) + 1,
      padding: "x".repeat(padding),
    };
    return { ...base, hash: hashOf(base) };
  });
}

/** The message id: also its name in ledgers. */
export function idOf(item: Item): string {
  return `${item.run}.${item.producer}.${item.key}.${item.n}`;
}

/** Whether a payload is exactly what {@link makeItems} made. */
export function isIntact(item: Item): boolean {
  return typeof item === "object" && item !== null && item.hash === hashOf(item);
}

function hashOf(item: Omit<Item, "hash">): string {
  const text = JSON.stringify([item.run, item.producer, item.key, item.n, item.padding]);
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}
