/** What the fault cases share: plans, load, and what to look for afterwards. */
import assert from "node:assert/strict";
import type { Bus, Duration } from "@sluice/core";
import { InvalidError } from "./case.ts";
import { monotonicMs, pause, poll } from "./clock.ts";
import type { CaseContext, ItemTopic } from "./context.ts";
import type { Member } from "./fleet.ts";
import { missing, publishOne } from "./flow.ts";
import { type Item, makeItems } from "./payload.ts";
import { FaultProxy } from "./proxy.ts";
import type { ConsumerPlan } from "./workers/consumer.ts";

/** The one group of every fault case. */
export const group = "g";

/** One plan for all consumers of a fault case. */
export function planFor(topic: ItemTopic, changes: Partial<ConsumerPlan> = {}): ConsumerPlan {
  return {
    topic: topic.name,
    group,
    ordered: topic.ordering === "key",
    shards: topic.shards,
    concurrency: 5,
    window: 10,
    attempts: 20,
    handlerMs: [20, 20],
    failOnce: 0,
    poison: undefined,
    ...changes,
  };
}

/** Deliveries that one dead consumer may repeat: what it held, what it ran, and what a log had not committed yet. */
export function heldByOne(context: CaseContext, plan: ConsumerPlan): number {
  const perShard = context.facts.capabilities.release === "absent" ? plan.shards : 1;
  return plan.concurrency + plan.window * perShard;
}

export async function ready(context: CaseContext, member: Member): Promise<void> {
  const limits = { idleMs: 30_000, totalMs: 30_000 };
  await context.journal.until(`${member.name} subscribes`, limits, () =>
    context.journal.events.some((event) => event.event === "ready" && event.process === member.name),
  );
}

/** Publishes at a steady rate, with the bus's own retry and no other. Each publish has two minutes, unless the case says otherwise. */
export function steadyFlow(
  context: CaseContext,
  topic: ItemTopic,
  count: number,
  perSecond: number,
  options: {
    readonly keys?: number;
    readonly producer?: string;
    readonly bus?: Bus;
    readonly deadline?: Duration;
  } = {},
): { readonly items: readonly Item[]; readonly done: Promise<void> } {
  const items = makeItems(context.run, count, {
    keys: options.keys ?? 20,
    padding: 200,
    producer: options.producer ?? "p",
  });
  const done = (async () => {
    const bus = options.bus ?? (await context.connect());
    const { deadline = "2m" } = options;
    const started = monotonicMs();
    const publishing: Promise<unknown>[] = [];
    for (const [index, item] of items.entries()) {
      const due = started + (index / perSecond) * 1000;
      if (due > monotonicMs()) await pause(due - monotonicMs());
      publishing.push(publishOne(context.ledger, context.run, bus, topic, item, { deadline }));
    }
    await Promise.all(publishing);
  })();
  return { items, done };
}

export function effectsSoFar(context: CaseContext, topic: ItemTopic): number {
  return context.journal.ids("effect", topic.name, group).size;
}

export async function reach(context: CaseContext, topic: ItemTopic, count: number): Promise<void> {
  const limits = { idleMs: 2 * context.harness.timing.recoveryMs, totalMs: 120_000 };
  const explain = () => `missing ${missing(context, topic.name, group)}`;
  await context.journal.until(
    `${count} messages handled`,
    limits,
    () => effectsSoFar(context, topic) >= count,
    explain,
  );
}

/**
 * Waits until every confirmed message is handled, and the broker holds nothing more, unconfirmed arrivals included. `buses`: those
 * that consume in this process.
 */
export async function caughtUp(context: CaseContext, topic: ItemTopic, buses: readonly Bus[] = []): Promise<void> {
  const limits = { idleMs: 2 * context.harness.timing.recoveryMs, totalMs: 120_000 };
  const effects = () => context.journal.ids("effect", topic.name, group);
  const confirmed = () => context.journal.ids("publish-ok", topic.name);
  await context.journal.until(
    "every confirmed message is handled",
    limits,
    () => [...confirmed().keys()].every((id) => effects().has(id)),
    () => `missing ${missing(context, topic.name, group)}`,
  );
  await still(context, topic, buses);
}

/**
 * Nothing waits, nothing is held, and no handler starts for a while. n.b. some brokers tell what waits and not what is handed out: a
 * repeat that a consumer has and has not begun is in no depth, goes back when the consumer drains, and would look like a message that
 * was left behind.
 */
async function still(context: CaseContext, topic: ItemTopic, buses: readonly Bus[]): Promise<void> {
  const { quietMs, recoveryMs } = context.harness.timing;
  const starts = () => startsSoFar(context, topic);
  let last = { since: monotonicMs(), starts: starts() };
  let waiting = -1;
  let held = -1;
  const what = () => `nothing waits or is held any more (${waiting} wait, ${held} are held)`;
  await poll(6 * recoveryMs, what, async () => {
    waiting = await context.raw.depth(topic.name, group);
    held = buses.flatMap((bus) => bus.health().subscriptions).reduce((sum, subscription) => sum + subscription.held, 0);
    const now = starts();
    if (waiting > 0 || held > 0 || now !== last.starts) last = { since: monotonicMs(), starts: now };
    return monotonicMs() - last.since >= quietMs ? true : undefined;
  });
}

/** No handler starts for a while: repeats that came last have been handled too, and a consumer that stops now has nothing to give back. */
export async function untilIdle(context: CaseContext, topic: ItemTopic): Promise<void> {
  const { quietMs, recoveryMs } = context.harness.timing;
  let last = { since: monotonicMs(), starts: startsSoFar(context, topic) };
  await poll(6 * recoveryMs, "no handler starts any more", async () => {
    const starts = startsSoFar(context, topic);
    if (starts !== last.starts) last = { since: monotonicMs(), starts };
    return monotonicMs() - last.since >= 2 * quietMs ? true : undefined;
  });
}

function startsSoFar(context: CaseContext, topic: ItemTopic): number {
  context.journal.catchUp();
  return context.journal.events.filter((event) => event.event === "handler-start" && event.topic === topic.name).length;
}

/** Milliseconds from `at` to the first effect after it. */
export function recoveryAfter(context: CaseContext, topic: ItemTopic, at: number): number {
  const next = context.journal.events
    .filter((event) => event.event === "effect" && event.topic === topic.name && event.at > at)
    .reduce((least, event) => Math.min(least, event.at), Infinity);
  return Math.round(next - at);
}

/** The member with the most started and unfinished handlers, once one has at least one. */
export async function busiest(context: CaseContext, topic: ItemTopic, members: readonly Member[]): Promise<Member> {
  return poll(
    20_000,
    "some consumer runs a handler",
    async () => {
      context.journal.catchUp();
      const open = members.map((member) => ({ member, count: openStarts(context, topic, member.name).size }));
      const [most] = open.sort((one, two) => two.count - one.count);
      return most && most.count > 0 ? most.member : undefined;
    },
    5,
  );
}

/** Ids that this process started and did not finish. */
function openStarts(context: CaseContext, topic: ItemTopic, name: string): Map<string, number> {
  const open = new Map<string, number>();
  for (const event of context.journal.events) {
    if (event.process !== name || event.topic !== topic.name || event.id === undefined) continue;
    if (event.event === "handler-start") open.set(event.id, event.at);
    else if (event.event === "effect" || event.event === "handler-end") open.delete(event.id);
  }
  return open;
}

/** Every message that a victim was handling has a new start, within the time after which a dead holder's messages come back. */
export function assertHeldCameAgain(
  context: CaseContext,
  topic: ItemTopic,
  kills: readonly { at: number; name: string }[],
): void {
  const { leaseMs, recoveryMs } = context.harness.timing;
  for (const kill of kills) {
    for (const id of openStarts(context, topic, kill.name).keys()) {
      const again = context.journal.events.find(
        (event) =>
          event.event === "handler-start" && event.id === id && event.process !== kill.name && event.at > kill.at,
      );
      assert.ok(again, `${id}, held by ${kill.name} when it was killed, never started again`);
      const took = Math.round(again.at - kill.at);
      assert.ok(took <= leaseMs + recoveryMs, `${id} came again after ${took} ms, bound ${leaseMs + recoveryMs}`);
    }
  }
}

/** Whether the message that the oracle complains about (`ID after N`) was in other hands before. */
export function handedOutAgain(context: CaseContext, topic: ItemTopic, complaint: string): boolean {
  const id = complaint.split(" ", 1)[0];
  return context.journal.events.some(
    (event) =>
      event.event === "handler-start" && event.topic === topic.name && event.id === id && (event.deliveries ?? 1) > 1,
  );
}

/** Two handlers of one message at the same time, beyond what dead and frozen holders explain. */
export function assertNoOverlap(context: CaseContext, topic: ItemTopic, budget: number): void {
  const running = new Map<string, string>();
  const gone = new Set(
    context.journal.events.flatMap((event) =>
      event.event === "fault" && /kill|freeze/.test(event.detail ?? "") ? [event.detail?.split(" ")[1] ?? ""] : [],
    ),
  );
  const overlaps: string[] = [];
  for (const event of context.journal.events
    .filter((each) => each.topic === topic.name)
    .sort((one, two) => one.at - two.at)) {
    const id = event.id ?? "";
    if (event.event === "handler-start") {
      const holder = running.get(id);
      if (holder !== undefined && holder !== event.process && !gone.has(holder))
        overlaps.push(`${id} in ${holder} and ${event.process}`);
      running.set(id, event.process);
    } else if (running.get(id) === event.process && (event.event === "effect" || event.event === "handler-end"))
      running.delete(id);
  }
  assert.deepEqual(overlaps, [], `budget for duplicates ${budget}`);
}

export function whenAborted(signal: AbortSignal): Promise<"stopped"> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve("stopped");
    signal.addEventListener("abort", () => resolve("stopped"), { once: true });
  });
}

/** A proxy in front of the broker, shown to be in the path: while it refuses, a fresh client must fail. */
export async function openProxy(context: CaseContext): Promise<FaultProxy> {
  const { upstream } = context.harness;
  assert.ok(upstream);
  const proxy = await FaultProxy.open(upstream, upstream.listen);
  context.cleanup(() => proxy.close());
  await proxy.refuse();
  const canary = await context.connect({}, { via: proxy.address }).then(
    () => "connected",
    () => "failed",
  );
  if (canary !== "failed")
    throw new InvalidError("the proxy is not in the path: a client connected although it refuses");
  await proxy.accept();
  return proxy;
}
