/** The broker itself stops and starts again. */
import assert from "node:assert/strict";
import { type Case, defineCase } from "../case.ts";
import { monotonicMs, pause, within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { untilDead } from "../dead-letters.ts";
import { caughtUp, effectsSoFar, group, heldByOne, planFor, reach, recoveryAfter, steadyFlow } from "../fault-tools.ts";
import { conserve, missing, publishAll, subscribe } from "../flow.ts";
import { makeItems } from "../payload.ts";
import { needs } from "./needs.ts";

export const restarts: readonly Case[] = [
  defineCase({
    id: "G-03",
    title: "The broker restarts in mid-flow",
    rule: "A restart and a kill of the broker lose nothing; producers and consumers go on by themselves within the recovery time.",
    required: false,
    profile: "fault",
    uses: ["control"],
    limitMs: 240_000,
    async run(context) {
      const { control } = context.harness;
      assert.ok(control);
      const topic = context.topic({ groups: [group] });
      const consumers = await Promise.all([context.connect(), context.connect()]);
      for (const bus of consumers)
        await subscribe(context, bus, topic, { group, concurrency: 5, window: 10 }, () => pause(5));
      const count = context.size(480, 2_000);
      const flow = steadyFlow(context, topic, count, 120);
      const recoveries: number[] = [];
      for (const [share, fault] of [
        [0.33, "restart"],
        [0.66, "kill"],
      ] as const) {
        await reach(context, topic, Math.floor(count * share));
        context.ledger.write("fault", { detail: fault });
        await within(60_000, `${fault} of the broker`, control[fault](2_000));
        const back = monotonicMs();
        context.ledger.write("fault", { detail: `${fault} is over` });
        await reach(context, topic, effectsSoFar(context, topic) + 20);
        recoveries.push(recoveryAfter(context, topic, back));
      }
      await within(60_000, "every publish settles", flow.done);
      const bound = 2 * context.harness.timing.recoveryMs;
      context.metrics.recoveryMs = Math.max(...recoveries);
      assert.ok(
        context.metrics.recoveryMs <= bound,
        `the first effect after the broker was back took ${context.metrics.recoveryMs} ms, bound ${bound}`,
      );
      await caughtUp(context, topic, consumers);
      await Promise.all(consumers.map((bus) => bus.drain({ deadline: 10_000 })));
      const held = consumers.length * heldByOne(context, planFor(topic));
      // Publishes whose confirmation the fault took are sent again by the bus: those outstanding at the fault, twice.
      await conserve(context, topic, group, { duplicates: 2 * (held + 500) });
    },
  }),
  defineCase({
    id: "G-03b",
    title: "What waits survives the broker",
    rule: "Messages that wait, retries that wait for their time and dead letters are there after a restart and a kill of the broker.",
    required: false,
    profile: "fault",
    uses: ["control"],
    needs: needs.persistent,
    limitMs: 360_000,
    run: (context) => surviveAtRest(context),
  }),
];

/** Before the fault each of twelve messages is dead-lettered, or waits for a retry; eighteen were never read. */
async function surviveAtRest(context: CaseContext): Promise<void> {
  const { control, timing } = context.harness;
  assert.ok(control);
  const topic = context.topic({ groups: [group] });
  const items = makeItems(context.run, 30, { keys: 6 });
  const first = await context.connect();
  // Where the broker has no delay for a group, nothing waits there for its time.
  const delays = context.facts.capabilities.delay.group !== "absent";
  const delayMs = Math.max(10_000, context.facts.limits.delayStepMs);
  const early = items.slice(0, delays ? 12 : 6);
  const reader = await subscribe(context, first, topic, { group }, (item, handling) =>
    item.n === 1 ? handling.deadLetter("before the fault") : handling.retry({ delay: delayMs }),
  );
  await publishAll(context, first, topic, early);
  const ended = () => context.journal.total("handler-end", topic.name, group) >= early.length;
  await context.journal.until("every early message has its fate", context.limits(early.length), ended);
  await untilDead(context, topic.name, group, 6);
  await reader.drain();
  await publishAll(context, first, topic, items.slice(early.length));
  await first.drain({ deadline: 5_000 });
  for (const fault of ["restart", "kill"] as const) {
    context.ledger.write("fault", { detail: fault });
    await within(120_000, `${fault} of the broker`, control[fault](500));
  }
  const bus = await context.connect();
  await subscribe(context, bus, topic, { group });
  const idleMs = delayMs + 2 * timing.recoveryMs + (timing.delayedLateMs ?? 0);
  const limits = { idleMs, totalMs: 2 * idleMs };
  const all = () => effectsSoFar(context, topic) >= items.length - 6;
  const explain = () => `missing ${missing(context, topic.name, group)}`;
  await context.journal.until("what waited is handled", limits, all, explain);
  await untilDead(context, topic.name, group, 6);
  await bus.drain({ deadline: 10_000 });
  await conserve(context, topic, group);
}
