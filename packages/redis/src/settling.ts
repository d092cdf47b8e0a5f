import type { Delivery, Runtime, SettleResult, Settlement } from "@sluice/core/driver";
import type { Argument, Link } from "./client.ts";
import type { Held, Holdings } from "./holdings.ts";
import type { Lane } from "./lanes.ts";
import { numbers } from "./replies.ts";
import { accept, giveBack, renew } from "./scripts/settle.ts";
import { giveUp } from "./scripts/shards.ts";
import type { Shard, ShardSet } from "./shards.ts";

export interface SettlingContext {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly group: string;
  readonly consumer: string;
  readonly leaseMs: number;
  readonly holdings: Holdings;
  readonly shardSets: readonly ShardSet[];
  /** The server has the settlement, or the message is not ours. */
  done(delivery: Delivery): void;
}

interface Item {
  readonly index: number;
  readonly delivery: Delivery;
  readonly held: Held;
  /** Deliveries that a give-back takes along; `undefined`: accepted. */
  readonly before: number | undefined;
}

/** Groups by stream and kind: one script call each, all on their way at once. */
export async function settleAll(
  context: SettlingContext,
  settlements: readonly Settlement[],
): Promise<readonly SettleResult[]> {
  const results: SettleResult[] = settlements.map(() => "lost");
  const groups = new Map<Lane, { readonly accepted: Item[]; readonly returned: Item[] }>();
  for (const [index, settlement] of settlements.entries()) {
    const { delivery } = settlement;
    const held = context.holdings.get(delivery);
    if (!held) continue;
    let group = groups.get(held.lane);
    if (!group) groups.set(held.lane, (group = { accepted: [], returned: [] }));
    if (settlement.accept) group.accepted.push({ index, delivery, held, before: undefined });
    else group.returned.push({ index, delivery, held, before: handOuts(delivery, settlement.release) });
  }
  const calls = [...groups].flatMap(([lane, { accepted, returned }]) => [
    one(context, lane, accepted, results),
    one(context, lane, returned, results),
  ]);
  await Promise.all(calls);
  return results;
}

/** What the next hand-out adds one to. */
function handOuts(delivery: Delivery, release: "returned" | "failed"): number {
  return Math.max(0, (delivery.deliveries ?? 1) - (release === "returned" ? 1 : 0));
}

async function one(context: SettlingContext, lane: Lane, items: readonly Item[], results: SettleResult[]): Promise<void> {
  if (items.length === 0) return;
  const { link, group, consumer } = context;
  const returned = items[0]?.before !== undefined;
  const keys = returned ? [lane.stream, lane.ownStream] : lane.shard ? [lane.stream, lane.shard.lease] : [lane.stream];
  const ids = items.flatMap(({ held, before }): Argument[] => (before === undefined ? [held.id] : [held.id, before]));
  const args = [group, consumer, lane.own ? "1" : "0", ...ids];
  let answers: readonly number[] = [];
  try {
    answers = numbers(await link.run(`cannot settle in "${lane.stream}"`, returned ? giveBack : accept, keys, args));
  } catch {
    // Whether it happened is unknown: what did not comes again, so all of it counts as lost.
  }
  for (const [at, { index, delivery }] of items.entries()) {
    if (answers[at] === 1) results[index] = "durable";
    context.done(delivery);
  }
}

/** Unsettled ones go back uncounted. @throws DriverError */
export async function giveBackAll(context: SettlingContext, deliveries: readonly Delivery[]): Promise<void> {
  const results = await settleAll(
    context,
    deliveries.map((delivery) => ({ delivery, accept: false, release: "returned" })),
  );
  if (results.includes("lost") && !context.link.alive) throw context.link.reason;
}

/** Renews what is still ours; the others are answered. */
export async function renewAll(
  context: SettlingContext,
  deliveries: readonly Delivery[],
  ms: number,
): Promise<readonly Delivery[]> {
  const { holdings, runtime, link, group, consumer } = context;
  const lost: Delivery[] = [];
  const groups = new Map<Lane, { readonly delivery: Delivery; readonly held: Held }[]>();
  for (const delivery of deliveries) {
    const held = holdings.get(delivery);
    if (!held || (held.lane.shard && !held.lane.shard.held)) lost.push(delivery);
    // Ordered: the heartbeat of the shards renews what counts.
    else if (!held.lane.shard) groups.set(held.lane, [...(groups.get(held.lane) ?? []), { delivery, held }]);
  }
  const untilMs = runtime.monotonicMs() + ms;
  await Promise.all(
    [...groups].map(async ([lane, items]) => {
      const args = [group, consumer, ...items.map(({ held }) => held.id)];
      const answers = numbers(await link.run(`cannot renew leases in "${lane.stream}"`, renew, [lane.stream], args));
      for (const [index, { delivery, held }] of items.entries()) {
        if (answers[index] === 1) held.leaseUntilMs = untilMs;
        else lost.push(delivery);
      }
    }),
  );
  return lost;
}

/** Ordered: gives leases up, and the counts of what was in hand back. @throws DriverError */
export async function giveUpShards(
  context: SettlingContext,
  shards: readonly Shard[],
  deliveries: readonly Delivery[],
  leaving: boolean,
): Promise<void> {
  const { link, group, consumer, holdings, shardSets } = context;
  await Promise.all(
    shardSets.map(async (set) => {
      const ours = set.shards.filter((shard) => shards.includes(shard));
      if (ours.length === 0 && !leaving) return;
      const keys = [set.members];
      const entries: Argument[] = [];
      for (const shard of ours) {
        const at = keys.length + 2;
        const [stream, own] = set.streams(shard);
        keys.push(shard.lease, stream, own);
        for (const delivery of deliveries) {
          const held = holdings.get(delivery);
          if (held?.lane.shard !== shard) continue;
          entries.push(held.lane.own ? at + 1 : at, held.id, Math.max(0, held.deliveries - 1));
        }
      }
      await link.run(`cannot give up shards of group "${group}"`, giveUp, keys, [group, consumer, leaving ? "1" : "0", 3, ...entries]);
    }),
  );
  for (const delivery of deliveries) context.done(delivery);
}
