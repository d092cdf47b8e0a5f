import assert from "node:assert/strict";
import type { LedgerEvent } from "./ledger.ts";

/** What became of the messages of one topic in one group. Nothing is deduplicated before it is counted. */
export interface Account {
  readonly published: number;
  readonly effects: number;
  /** Confirmed, and neither handled nor dead-lettered nor dropped by a stated policy. */
  readonly lost: readonly string[];
  /** Handled, never published in this run. */
  readonly unexpected: readonly string[];
  /** Not confirmed, handled all the same. */
  readonly recovered: readonly string[];
  /** Effects beyond the first of each message. */
  readonly duplicates: number;
  /** Per key: the first effect of n after the first effect of a later one. */
  readonly reorder: readonly string[];
  /** Per key: an effect of n that was seen before, after an effect of a later one. */
  readonly reorderedRepeats: number;
  readonly corrupted: readonly string[];
  /** Handled although the publish was refused for certain. */
  readonly denied: readonly string[];
  readonly deadLettered: number;
  /** Longest time without an effect between the first and the last one. */
  readonly gapMs: number;
  readonly latencyP50Ms: number;
  readonly latencyP99Ms: number;
}

/** Computes the account of `topic` as `group` saw it from all ledgers of a case. */
export function account(events: readonly LedgerEvent[], topic: string, group: string): Account {
  const sorted = events.filter((event) => event.topic === topic).sort((one, two) => one.at - two.at);
  const published = new Map<string, LedgerEvent>();
  const confirmed = new Set<string>();
  const refused = new Set<string>();
  const ended = new Set<string>();
  const effects: LedgerEvent[] = [];
  for (const event of sorted) {
    const { id = "" } = event;
    if (event.event === "publish-intent") published.set(id, published.get(id) ?? event);
    else if (event.event === "publish-ok") confirmed.add(id);
    else if (event.event === "publish-failed") refused.add(id);
    else if (event.group !== group) continue;
    else if (event.event === "effect") effects.push(event);
    else if (event.event === "dlq-seen" || event.event === "dropped") ended.add(id);
  }
  const first = new Map<string, LedgerEvent>();
  for (const event of effects) if (!first.has(event.id ?? "")) first.set(event.id ?? "", event);
  const seen = [...first.keys()];
  const order = inspectOrder(effects);
  const latencies = seen
    .map((id) => (first.get(id)?.at ?? 0) - (published.get(id)?.at ?? 0))
    .sort((one, two) => one - two);
  return {
    published: published.size,
    effects: effects.length,
    lost: [...confirmed].filter((id) => !first.has(id) && !ended.has(id)),
    unexpected: seen.filter((id) => !published.has(id)),
    recovered: seen.filter((id) => published.has(id) && !confirmed.has(id)),
    denied: seen.filter((id) => refused.has(id) && !confirmed.has(id)),
    duplicates: effects.length - first.size,
    ...order,
    corrupted: sorted.filter((event) => event.corrupted && event.group === group).map((event) => event.id ?? "?"),
    deadLettered: ended.size,
    gapMs: Math.max(0, ...effects.slice(1).map((event, index) => event.at - (effects[index]?.at ?? event.at))),
    latencyP50Ms: Math.round(latencies[Math.floor(latencies.length / 2)] ?? 0),
    latencyP99Ms: Math.round(latencies[Math.floor(latencies.length * 0.99)] ?? 0),
  };
}

function inspectOrder(effects: readonly LedgerEvent[]): { reorder: string[]; reorderedRepeats: number } {
  const highest = new Map<string, number>();
  const known = new Set<string>();
  const reorder: string[] = [];
  let reorderedRepeats = 0;
  for (const event of effects) {
    if (event.key === undefined || event.n === undefined || event.id === undefined) continue;
    const lane = `${event.id.slice(0, event.id.lastIndexOf("."))}`;
    const top = highest.get(lane) ?? 0;
    if (event.n < top && !known.has(event.id)) reorder.push(`${event.id} after ${top}`);
    if (event.n < top && known.has(event.id)) reorderedRepeats++;
    highest.set(lane, Math.max(top, event.n));
    known.add(event.id);
  }
  return { reorder, reorderedRepeats };
}

/** What an account must show. Zero lost, unexpected and corrupted always. */
export interface Bounds {
  /** Most duplicates that the faults of the case justify; printed beside the measured number. @default 0 */
  readonly duplicates?: number;
  /** Whether order per key is declared. @default false */
  readonly ordered?: boolean;
  /** Waiting or unsettled at the broker after the drain. @default not measured */
  readonly stuck?: number;
}

/** Fails with all numbers and the first ids of whatever is wrong. */
export function verify(result: Account, bounds: Bounds, tail: () => string): void {
  const wrong = [
    complaint("lost", result.lost),
    complaint("unexpected", result.unexpected),
    complaint("corrupted", result.corrupted),
    complaint("handled although the publish was refused", result.denied),
    bounds.ordered ? complaint("out of order", result.reorder) : "",
    result.duplicates > (bounds.duplicates ?? 0)
      ? `${result.duplicates} duplicates, budget ${bounds.duplicates ?? 0}`
      : "",
    (bounds.stuck ?? 0) > 0 ? `${bounds.stuck} still at the broker after the drain` : "",
  ].filter(Boolean);
  if (wrong.length === 0) return;
  const sums = `published ${result.published}, effects ${result.effects}, dead-lettered ${result.deadLettered}`;
  assert.fail(`${wrong.join("; ")} (${sums})\n${tail()}`);
}

function complaint(what: string, ids: readonly string[]): string {
  if (ids.length === 0) return "";
  return `${ids.length} ${what}: ${ids.slice(0, 5).join(", ")}${ids.length > 5 ? ", …" : ""}`;
}
