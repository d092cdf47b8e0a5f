import assert from "node:assert/strict";
import { type Case, defineCase, InvalidError } from "../case.ts";
import { monotonicMs, pause, within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { caughtUp, group, heldByOne, planFor, reach, recoveryAfter, steadyFlow } from "../fault-tools.ts";
import { conserve, subscribe } from "../flow.ts";
import { FaultProxy } from "../proxy.ts";

const deadlineMs = 5_000;

/** A proxy in front of the broker, shown to be in the path: while it refuses, a fresh client must fail. */
async function openProxy(context: CaseContext): Promise<FaultProxy> {
  const { upstream } = context.harness;
  assert.ok(upstream);
  const proxy = await FaultProxy.open(upstream);
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

/** A producer and two consumers behind a proxy, with a steady flow between them. */
async function openFlow(context: CaseContext, count: number, perSecond: number) {
  const proxy = await openProxy(context);
  const topic = context.topic({ groups: [group] });
  const variant = { via: proxy.address };
  const buses = await Promise.all([context.connect({}, variant), context.connect({}, variant)]);
  for (const bus of buses) {
    await subscribe(context, bus, topic, { group, concurrency: 5, window: 10 }, () => pause(5));
  }
  const publisher = await context.connect({ publish: { deadline: deadlineMs } }, variant);
  const flow = steadyFlow(context, topic, count, perSecond, { bus: publisher });
  await reach(context, topic, 50);
  return { proxy, topic, buses, flow };
}

/** After the last fault: everything that was confirmed is handled within the bounds. */
async function settleDown(
  context: CaseContext,
  parts: Awaited<ReturnType<typeof openFlow>>,
  healed: number,
  duplicates: number,
): Promise<void> {
  const { topic, buses, flow } = parts;
  await within(deadlineMs + 60_000, "every publish settles", flow.done);
  await caughtUp(context, topic);
  const bound = 2 * context.harness.timing.recoveryMs;
  context.metrics.recoveryMs = recoveryAfter(context, topic, healed);
  assert.ok(context.metrics.recoveryMs <= bound, `recovery took ${context.metrics.recoveryMs} ms, bound ${bound}`);
  await Promise.all(buses.map((bus) => bus.drain({ deadline: 10_000 })));
  await conserve(context, topic, group, { duplicates });
}

/** Longest time from the call of a publish to its end. */
function longestPublishMs(context: CaseContext, topic: string): number {
  const begun = new Map<string, number>();
  let longest = 0;
  for (const event of context.journal.events) {
    if (event.topic !== topic || event.id === undefined) continue;
    if (event.event === "publish-intent") begun.set(event.id, event.at);
    else if (event.event.startsWith("publish-"))
      longest = Math.max(longest, event.at - (begun.get(event.id) ?? event.at));
  }
  return longest;
}

export const network: readonly Case[] = [
  defineCase({
    id: "G-04a",
    title: "Connections are cut and refused for a while",
    rule: "Everybody connects again by himself; nothing confirmed is lost.",
    required: false,
    profile: "fault",
    uses: ["proxy"],
    limitMs: 120_000,
    async run(context) {
      const parts = await openFlow(context, 800, 80);
      const { proxy, topic, buses } = parts;
      let healed = 0;
      for (const count of [150, 400]) {
        await reach(context, topic, count);
        await proxy.refuse();
        proxy.reset();
        context.ledger.write("fault", { detail: "cut" });
        await pause(1_500);
        await proxy.accept();
        healed = monotonicMs();
      }
      const held = buses.length * heldByOne(context, planFor(topic));
      await settleDown(context, parts, healed, 2 * (held + 400));
    },
  }),
  defineCase({
    id: "G-04b",
    title: "The network swallows everything, and no socket closes",
    rule: "A half-open connection is noticed; publishes settle by their deadline; nothing confirmed is lost.",
    required: false,
    profile: "fault",
    uses: ["proxy"],
    limitMs: 180_000,
    async run(context) {
      const parts = await openFlow(context, 1_200, 60);
      const { proxy, topic, buses } = parts;
      const before = proxy.accepted;
      proxy.rule({ kind: "blackhole" });
      context.ledger.write("fault", { detail: "black hole" });
      const { leaseMs, recoveryMs } = context.harness.timing;
      const limits = { idleMs: 60_000, totalMs: 3 * leaseMs + recoveryMs };
      // Noticed: a client gives its silent connection up and dials again, into the same hole.
      await context.journal.until("a client notices the silence", limits, () => proxy.accepted > before);
      proxy.reset(); // What was swallowed would be missing in the streams: these connections are dead for good.
      await proxy.heal();
      const held = buses.length * heldByOne(context, planFor(topic));
      await settleDown(context, parts, monotonicMs(), held + 600);
      const longest = longestPublishMs(context, topic.name);
      assert.ok(longest <= deadlineMs + 5_000, `a publish took ${Math.round(longest)} ms to settle`);
    },
  }),
  defineCase({
    id: "G-04c",
    title: "Only the way back is swallowed",
    rule: "What arrives without its confirmation arriving is unknown, never refused; repeats stay within the budget.",
    required: false,
    profile: "fault",
    uses: ["proxy"],
    limitMs: 120_000,
    async run(context) {
      const parts = await openFlow(context, 800, 80);
      const { proxy, topic, buses } = parts;
      proxy.rule({ kind: "blackhole" }, "toClient");
      context.ledger.write("fault", { detail: "one-way black hole" });
      await pause(3_000);
      proxy.reset();
      await proxy.heal();
      const held = buses.length * heldByOne(context, planFor(topic));
      // The bus sends again what was not confirmed: everything outstanding in those three seconds, and what was in line.
      await settleDown(context, parts, monotonicMs(), held + 400);
    },
  }),
  defineCase({
    id: "G-04d",
    title: "The network is slow",
    rule: "Slowness alone loses nothing and repeats nothing.",
    required: false,
    profile: "fault",
    uses: ["proxy"],
    limitMs: 120_000,
    async run(context) {
      const parts = await openFlow(context, 600, 60);
      const { proxy, topic } = parts;
      proxy.rule({ kind: "delay", ms: 80, jitterMs: 60 });
      context.ledger.write("fault", { detail: "slow" });
      await reach(context, topic, 300);
      proxy.rule({ kind: "limit", bytesPerSecond: 64 * 1024 });
      await reach(context, topic, 450);
      await proxy.heal();
      await settleDown(context, parts, monotonicMs(), 0);
    },
  }),
];
