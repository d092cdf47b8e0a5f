import assert from "node:assert/strict";
import { isSluiceError } from "@sluice/core";
import { type Case, defineCase } from "../case.ts";
import { monotonicMs, pause, poll, within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { caughtUp, group, heldByOne, openProxy, planFor, reach, recoveryAfter, steadyFlow } from "../fault-tools.ts";
import { conserve, describe, publishOne, subscribe } from "../flow.ts";
import { makeItems } from "../payload.ts";

const deadlineMs = 5_000;

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
  const flow = steadyFlow(context, topic, count, perSecond, { bus: publisher, deadline: deadlineMs });
  await reach(context, topic, 50);
  return { proxy, topic, buses, publisher, flow };
}

/** After the last fault: everything that was confirmed is handled within the bounds. */
async function settleDown(
  context: CaseContext,
  parts: Awaited<ReturnType<typeof openFlow>>,
  healed: number,
  duplicates: number,
): Promise<void> {
  const { topic, buses, publisher, flow } = parts;
  await within(deadlineMs + 60_000, "every publish settles", flow.done);
  // What is on its way without a confirmation arrives now or never.
  await publisher.drain({ deadline: deadlineMs });
  await caughtUp(context, topic, buses);
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

/** Publishes one after another; of every tenth the answer is swallowed until its deadline. */
async function publishIntoSilence(context: CaseContext): Promise<void> {
  const proxy = await openProxy(context);
  const topic = context.topic({ groups: [group] });
  const consumer = await context.connect();
  await subscribe(context, consumer, topic, { group });
  const waitMs = 1_500;
  const publisher = await context.connect({}, { via: proxy.address });
  const items = makeItems(context.run, context.size(25, 65), { keys: 5 });
  let unknown = 0;
  for (const [index, item] of items.entries()) {
    const silent = index % 10 === 9;
    if (silent) proxy.rule({ kind: "blackhole" }, "toClient");
    const called = monotonicMs();
    const error = await publishOne(
      context.ledger,
      context.run,
      publisher,
      topic,
      item,
      silent ? { deadline: waitMs } : {},
    );
    const took = Math.round(monotonicMs() - called);
    if (!silent) continue;
    assert.ok(
      isSluiceError(error),
      `a publish without an answer: ${error === undefined ? "confirmed" : describe(error)}`,
    );
    assert.equal(error.outcome, "unknown", error.message);
    assert.ok(took >= waitMs - 50 && took <= waitMs + 1_500, `it settled after ${took} ms, deadline ${waitMs}`);
    unknown++;
    proxy.reset(); // What was swallowed is missing in the stream: this connection is dead for good.
    await proxy.heal();
    const back = async () => (publisher.health().connection === "open" ? true : undefined);
    await poll(context.harness.timing.recoveryMs, "the publisher connects again", back);
  }
  await publisher.drain({ deadline: 5_000 });
  await caughtUp(context, topic, [consumer]);
  await consumer.drain({ deadline: 5_000 });
  // One that was stored unheard may have been sent once more before its deadline.
  const result = await conserve(context, topic, group, { duplicates: unknown });
  assert.ok(result.recovered.length <= unknown, `${result.recovered.length} recovered, ${unknown} were unknown`);
}

export const network: readonly Case[] = [
  defineCase({
    id: "G-11",
    title: "A publish whose answer never comes",
    rule: "It rejects at its deadline as unknown, never as refused or confirmed; later ones work, and what was stored is handled.",
    required: false,
    profile: "fault",
    uses: ["proxy"],
    limitMs: 180_000,
    run: (context) => publishIntoSilence(context),
  }),
  defineCase({
    id: "G-04a",
    title: "Connections are cut and refused for a while",
    rule: "Everybody connects again by himself; nothing confirmed is lost.",
    required: false,
    profile: "fault",
    uses: ["proxy"],
    limitMs: 120_000,
    async run(context) {
      const count = context.size(300, 800);
      const parts = await openFlow(context, count, 80);
      const { proxy, topic, buses } = parts;
      let healed = 0;
      for (const share of [0.2, 0.5]) {
        await reach(context, topic, Math.floor(count * share));
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
      const parts = await openFlow(context, context.size(300, 1_200), 60);
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
      const parts = await openFlow(context, context.size(400, 800), 80);
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
      const count = context.size(200, 600);
      const parts = await openFlow(context, count, 60);
      const { proxy, topic } = parts;
      proxy.rule({ kind: "delay", ms: 80, jitterMs: 60 });
      context.ledger.write("fault", { detail: "slow" });
      await reach(context, topic, count / 2);
      proxy.rule({ kind: "limit", bytesPerSecond: 64 * 1024 });
      await reach(context, topic, count * 0.75);
      await proxy.heal();
      await settleDown(context, parts, monotonicMs(), 0);
    },
  }),
];
