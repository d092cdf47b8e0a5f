import type { Delivery, Runtime, SettleResult, Settlement } from "@sluice/core/driver";
import type { Argument, Link } from "./client.ts";
import type { Held, Holdings } from "./holdings.ts";
import type { Lane } from "./lanes.ts";
import { Keys } from "./keys.ts";
import { numbers } from "./replies.ts";
import type { Script } from "./scripts/script.ts";
import { accept, giveBack, renew } from "./scripts/settle.ts";
import { giveUp } from "./scripts/shards.ts";
import type { Shard, ShardSet } from "./shards.ts";
import type { Together } from "./slots.ts";

export interface SettlingContext {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly group: string;
  readonly consumer: string;
  readonly leaseMs: number;
  readonly holdings: Holdings;
  readonly shardSets: readonly ShardSet[];
  readonly together: Together;
  /** The server has the settlement, or the message is not ours. */
  done(delivery: Delivery): void;
  /** The server may still have them as ours, and we forgot them: they are to come again. */
  again(lanes: Iterable<Lane>): void;
}

interface Item {
  readonly index: number;
  readonly delivery: Delivery;
  readonly held: Held;
  readonly stream: string;
  /** Deliveries that a give-back takes along. */
  readonly before: number;
}

/** Everything that is accepted in one call, as far as a cluster allows; what goes back by stream. All at once. */
export async function settleAll(
  context: SettlingContext,
  settlements: readonly Settlement[],
): Promise<readonly SettleResult[]> {
  const results: SettleResult[] = settlements.map(() => "lost");
  const accepted: Item[] = [];
  const returned = new Map<Lane, Item[]>();
  for (const [index, settlement] of settlements.entries()) {
    const { delivery } = settlement;
    const held = context.holdings.get(delivery);
    if (!held) continue;
    const item = { index, delivery, held, stream: held.lane.stream };
    if (settlement.accept) accepted.push({ ...item, before: 0 });
    else {
      const before = handOuts(delivery, settlement.release);
      returned.set(held.lane, [...(returned.get(held.lane) ?? []), { ...item, before }]);
    }
  }
  const calls = context.together(accepted).map((items) => acceptItems(context, items, results));
  for (const [lane, items] of returned) calls.push(returnItems(context, lane, items, results));
  await Promise.all(calls);
  return results;
}

/** What the next hand-out adds one to. */
function handOuts(delivery: Delivery, release: "returned" | "failed"): number {
  return Math.max(0, (delivery.deliveries ?? 1) - (release === "returned" ? 1 : 0));
}

async function acceptItems(context: SettlingContext, items: readonly Item[], results: SettleResult[]): Promise<void> {
  const keys = new Keys();
  const args: Argument[] = [context.group, context.consumer];
  const groups = Map.groupBy(items, ({ held }) => held.lane);
  for (const [lane, theirs] of groups) {
    args.push(keys.index(lane.stream), lane.shard ? keys.index(lane.shard.lease) : 0, lane.own ? "1" : "0");
    args.push(theirs.length);
    for (const { held } of theirs) args.push(held.id);
  }
  await answer(context, [...groups.values()].flat(), results, accept, keys.list, args);
}

async function returnItems(
  context: SettlingContext,
  lane: Lane,
  items: readonly Item[],
  results: SettleResult[],
): Promise<void> {
  const entries = items.flatMap(({ held, before }): Argument[] => [held.id, before]);
  const args = [context.group, context.consumer, lane.own ? "1" : "0", ...entries];
  await answer(context, items, results, giveBack, [lane.stream, lane.ownStream], args);
}

async function answer(
  context: SettlingContext,
  items: readonly Item[],
  results: SettleResult[],
  how: Script,
  keys: readonly string[],
  args: readonly Argument[],
): Promise<void> {
  let answers: readonly number[] = [];
  let refused = false;
  try {
    answers = numbers(await context.link.run(`cannot settle for group "${context.group}"`, how, keys, args));
  } catch {
    // Whether it happened is unknown: what did not comes again, so all of it counts as lost.
    refused = true;
  }
  for (const [at, { index, delivery }] of items.entries()) {
    if (answers[at] === 1) results[index] = "durable";
    context.done(delivery);
  }
  if (refused) context.again(new Set(items.map(({ held }) => held.lane)));
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
      await link.run(`cannot give up shards of group "${group}"`, giveUp, keys, [
        group,
        consumer,
        leaving ? "1" : "0",
        3,
        ...entries,
      ]);
    }),
  );
  for (const delivery of deliveries) context.done(delivery);
}
