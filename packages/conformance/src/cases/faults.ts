import assert from "node:assert/strict";
import { type Case, defineCase } from "../case.ts";
import { monotonicMs, pause, poll, within } from "../clock.ts";
import type { CaseContext, ItemTopic } from "../context.ts";
import { type Member, startConsumer, startProducer } from "../fleet.ts";
import { conserve, effects, missing, publishAll, publishOne, subscribe } from "../flow.ts";
import { idOf, makeItems } from "../payload.ts";
import { account } from "../oracle.ts";
import { headerOf, untilDead } from "./payload.ts";
import type { ConsumerPlan } from "../workers/consumer.ts";

const group = "g";

/** One plan for all consumers of a fault case. */
function planFor(topic: ItemTopic, changes: Partial<ConsumerPlan> = {}): ConsumerPlan {
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
function heldByOne(context: CaseContext, plan: ConsumerPlan): number {
  const perShard = context.facts.capabilities.release === "absent" ? plan.shards : 1;
  return plan.concurrency + plan.window * perShard;
}

async function ready(context: CaseContext, member: Member): Promise<void> {
  const limits = { idleMs: 30_000, totalMs: 30_000 };
  await context.journal.until(`${member.name} subscribes`, limits, () =>
    context.journal.events.some((event) => event.event === "ready" && event.process === member.name),
  );
}

/** Publishes at a steady rate until told to stop, with the bus's own retry and no other. */
function steadyFlow(context: CaseContext, topic: ItemTopic, count: number, perSecond: number, keys = 20) {
  const items = makeItems(context.run, count, { keys, padding: 200 });
  const done = (async () => {
    const bus = await context.connect();
    const started = monotonicMs();
    const publishing: Promise<unknown>[] = [];
    for (const [index, item] of items.entries()) {
      const due = started + (index / perSecond) * 1000;
      if (due > monotonicMs()) await pause(due - monotonicMs());
      publishing.push(publishOne(context.ledger, context.run, bus, topic, item));
    }
    await Promise.all(publishing);
  })();
  return { items, done };
}

function effectsSoFar(context: CaseContext, topic: ItemTopic): number {
  return context.journal.ids("effect", topic.name, group).size;
}

async function reach(context: CaseContext, topic: ItemTopic, count: number): Promise<void> {
  const limits = { idleMs: 2 * context.harness.timing.recoveryMs, totalMs: 120_000 };
  const explain = () => `missing ${missing(context, topic.name, group)}`;
  await context.journal.until(`${count} messages handled`, limits, () => effectsSoFar(context, topic) >= count, explain);
}

/** Milliseconds from `at` to the first effect after it. */
function recoveryAfter(context: CaseContext, topic: ItemTopic, at: number): number {
  const next = context.journal.events
    .filter((event) => event.event === "effect" && event.topic === topic.name && event.at > at)
    .reduce((least, event) => Math.min(least, event.at), Infinity);
  return Math.round(next - at);
}

export const faults: readonly Case[] = [
  defineCase({
    id: "G-01",
    title: "Consumers killed while they handle messages",
    rule: "SIGKILL of consumers loses nothing; what they held comes again within the recovery time, and little else does.",
    required: false,
    profile: "fault",
    uses: ["processes"],
    limitMs: 180_000,
    async run(context) {
      const topic = context.topic({ groups: [group] });
      const plan = planFor(topic);
      const bus = await context.connect();
      await publishAll(context, bus, topic, makeItems(context.run, 1, { producer: "first" }));
      const members = [0, 1, 2].map(() => startConsumer(context, plan));
      await Promise.all(members.map((member) => ready(context, member)));
      const count = 900;
      const flow = steadyFlow(context, topic, count, 150);
      const kills: { at: number; name: string }[] = [];
      for (const share of [0.25, 0.5, 0.75]) {
        await reach(context, topic, Math.floor(count * share));
        const victim = await busiest(context, topic, members);
        await victim.kill();
        context.ledger.write("fault", { detail: `killed ${victim.name}` });
        kills.push({ at: monotonicMs(), name: victim.name });
        members.splice(members.indexOf(victim), 1);
        await pause(500);
        members.push(startConsumer(context, plan));
      }
      await flow.done;
      await reach(context, topic, count + 1);
      for (const member of members) await member.stop();
      context.metrics.recoveryMs = Math.max(...kills.map((kill) => recoveryAfter(context, topic, kill.at)));
      assertHeldCameAgain(context, topic, kills);
      await conserve(context, topic, group, { duplicates: kills.length * heldByOne(context, plan) });
    },
  }),
  defineCase({
    id: "G-02",
    title: "A producer killed while it publishes",
    rule: "What publish confirmed is stored: a successor that sends only the unconfirmed loses nothing.",
    required: false,
    profile: "fault",
    uses: ["processes"],
    limitMs: 120_000,
    async run(context) {
      const topic = context.topic({ groups: [group] });
      const count = 2_000;
      const plan = { topic: topic.name, groups: [group], ordered: false, shards: topic.shards, count, keys: 20, concurrency: 50, confirmed: [], pauseMs: 5 };
      const first = startProducer(context, plan);
      const confirmed = () => context.journal.ids("publish-ok", topic.name);
      await context.journal.until("half is confirmed", { idleMs: 30_000, totalMs: 60_000 }, () => confirmed().size >= count / 2);
      await first.kill();
      context.journal.catchUp();
      context.ledger.write("fault", { detail: `killed ${first.name} at ${confirmed().size}` });
      const second = startProducer(context, { ...plan, confirmed: [...confirmed().keys()] });
      await within(60_000, "the second producer ends", second.ended);
      context.journal.catchUp();
      assert.equal(confirmed().size, count, context.journal.tail());
      const bus = await context.connect();
      await subscribe(context, bus, topic, { group });
      await effects(context, topic, group, count);
      await bus.drain({ deadline: 10_000 });
      await conserve(context, topic, group, { duplicates: plan.concurrency });
    },
  }),
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
      for (const bus of consumers) await subscribe(context, bus, topic, { group, concurrency: 5, window: 10 }, () => pause(5));
      const count = 2_000;
      const flow = steadyFlow(context, topic, count, 120);
      const recoveries: number[] = [];
      for (const [share, fault] of [[0.33, "restart"], [0.66, "kill"]] as const) {
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
      assert.ok(context.metrics.recoveryMs <= bound, `the first effect after the broker was back took ${context.metrics.recoveryMs} ms, bound ${bound}`);
      const confirmed = context.journal.ids("publish-ok", topic.name).size;
      await reach(context, topic, confirmed);
      await Promise.all(consumers.map((bus) => bus.drain({ deadline: 10_000 })));
      const held = consumers.length * heldByOne(context, planFor(topic));
      // Publishes whose confirmation the fault took are sent again by the bus: those outstanding at the fault, twice.
      await conserve(context, topic, group, { duplicates: 2 * (held + 500) });
    },
  }),
  defineCase({
    id: "G-05",
    title: "Members come, go, die and freeze while messages are in flight",
    rule: "No loss; order per key holds except across a lost lease; no message runs in two handlers unless the first holder was dead or frozen.",
    required: false,
    profile: "fault",
    uses: ["processes"],
    limitMs: 240_000,
    async run(context) {
      const ordered = context.facts.capabilities.ordered !== "absent";
      const topic = context.topic({ groups: [group], ordering: ordered ? "key" : "none" });
      const plan = planFor(topic, { handlerMs: [10, 60], failOnce: 0.05 });
      const maker = await context.connect();
      await publishAll(context, maker, topic, makeItems(context.run, 1, { producer: "first" }));
      const members = [startConsumer(context, plan)];
      await ready(context, members[0] ?? assert.fail());
      const count = 1_500;
      const flow = steadyFlow(context, topic, count, 60, 24);
      let faultsSoFar = 0;
      const steps = ["join", "join", "leave", "join", "kill", "join", "freeze", "leave", "kill", "join"] as const;
      for (const step of steps) {
        await pause(1_800);
        const victim = members[Math.floor(context.random() * members.length)];
        context.ledger.write("fault", { detail: `${step} ${step === "join" ? "" : (victim?.name ?? "")}` });
        if (step === "join" || !victim || members.length < 2) members.push(startConsumer(context, plan));
        else if (step === "freeze") {
          victim.freeze?.(2 * context.harness.timing.leaseMs);
          faultsSoFar += 2;
        } else {
          members.splice(members.indexOf(victim), 1);
          if (step === "kill") {
            faultsSoFar += 1;
            await victim.kill();
          } else await victim.stop();
        }
      }
      await flow.done;
      await reach(context, topic, count + 1);
      for (const member of members) await member.stop();
      context.journal.catchUp();
      const budget = faultsSoFar * heldByOne(context, plan);
      const result = account(context.journal.events, topic.name, group);
      assert.deepEqual(result.reorder, [], "first deliveries changed places");
      await conserve(context, topic, group, { ordered, duplicates: budget });
      assertNoOverlap(context, topic, budget);
    },
  }),
  defineCase({
    id: "G-06",
    title: "A message that kills its process",
    rule: "The process dies a bounded number of times; the message becomes a dead letter (crash-suspect), and no other does.",
    required: false,
    profile: "fault",
    uses: ["processes"],
    limitMs: 240_000,
    needs: { what: "deliveries", holds: ({ capabilities }) => capabilities.deliveries !== "absent" },
    async run(context) {
      const topic = context.topic({ groups: [group] });
      const bus = await context.connect();
      const items = makeItems(context.run, 200, { keys: 20 });
      await publishAll(context, bus, topic, items);
      const poison = items[49];
      assert.ok(poison);
      const plan = planFor(topic, { poison: idOf(poison), handlerMs: [2, 5] });
      const { release } = context.facts.capabilities;
      const convict = release !== "absent" && release.counted ? 7 : 4;
      let deaths = 0;
      const innocent = () => effectsSoFar(context, topic) >= items.length - 1;
      let member = startConsumer(context, plan);
      const convicted = async () => (innocent() && (await context.raw.deadLetters(topic.name, group)).length > 0) || undefined;
      const stop = new AbortController();
      const supervising = (async () => {
        while (!stop.signal.aborted) {
          const how = await Promise.race([member.ended, whenAborted(stop.signal)]);
          if (how !== "killed") return;
          deaths++;
          await pause(300);
          if (!stop.signal.aborted) member = startConsumer(context, plan);
        }
      })();
      try {
        await poll(180_000, () => `the poison is convicted and the others are handled (${deaths} deaths, ${effectsSoFar(context, topic)} handled)`, convicted, 200);
      } finally {
        stop.abort();
        await supervising;
      }
      await member.stop();
      const dead = await untilDead(context, topic.name, group, 1);
      assert.equal(headerOf(dead[0]?.headers, "dlq-reason"), "crash-suspect");
      assert.equal(idOf(JSON.parse(Buffer.from(dead[0]?.body ?? []).toString())), idOf(poison));
      assert.ok(deaths <= convict + 2, `the process died ${deaths} times`);
      await conserve(context, topic, group, { duplicates: deaths * heldByOne(context, plan) });
    },
    async inverse(context) {
      const topic = context.topic({ groups: [group] });
      const bus = await context.connect();
      await publishAll(context, bus, topic, makeItems(context.run, 1));
      const poison = makeItems(context.run, 1)[0] ?? assert.fail();
      for (let death = 0; death < 3; death++) {
        const member = startConsumer(context, planFor(topic, { poison: idOf(poison) }));
        assert.equal(await within(60_000, "the consumer dies", member.ended), "killed");
      }
      assert.equal((await context.raw.deadLetters(topic.name, group)).length, 0, "a count that is not declared convicted");
    },
  }),
];

/** The member with the most started and unfinished handlers, once one has at least one. */
async function busiest(context: CaseContext, topic: ItemTopic, members: readonly Member[]): Promise<Member> {
  return poll(20_000, "some consumer runs a handler", async () => {
    context.journal.catchUp();
    const open = members.map((member) => ({ member, count: openStarts(context, topic, member.name).size }));
    const [most] = open.sort((one, two) => two.count - one.count);
    return most && most.count > 0 ? most.member : undefined;
  }, 5);
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
function assertHeldCameAgain(context: CaseContext, topic: ItemTopic, kills: readonly { at: number; name: string }[]): void {
  const { leaseMs, recoveryMs } = context.harness.timing;
  for (const kill of kills) {
    for (const id of openStarts(context, topic, kill.name).keys()) {
      const again = context.journal.events.find(
        (event) => event.event === "handler-start" && event.id === id && event.process !== kill.name && event.at > kill.at,
      );
      assert.ok(again, `${id}, held by ${kill.name} when it was killed, never started again`);
      const took = Math.round(again.at - kill.at);
      assert.ok(took <= leaseMs + recoveryMs, `${id} came again after ${took} ms, bound ${leaseMs + recoveryMs}`);
    }
  }
}

/** Two handlers of one message at the same time, beyond what dead and frozen holders explain. */
function assertNoOverlap(context: CaseContext, topic: ItemTopic, budget: number): void {
  const running = new Map<string, string>();
  const gone = new Set(
    context.journal.events.flatMap((event) => (event.event === "fault" && /kill|freeze/.test(event.detail ?? "") ? [event.detail?.split(" ")[1] ?? ""] : [])),
  );
  const overlaps: string[] = [];
  for (const event of context.journal.events.filter((each) => each.topic === topic.name).sort((one, two) => one.at - two.at)) {
    const id = event.id ?? "";
    if (event.event === "handler-start") {
      const holder = running.get(id);
      if (holder !== undefined && holder !== event.process && !gone.has(holder)) overlaps.push(`${id} in ${holder} and ${event.process}`);
      running.set(id, event.process);
    } else if (running.get(id) === event.process && (event.event === "effect" || event.event === "handler-end")) running.delete(id);
  }
  assert.deepEqual(overlaps, [], `budget for duplicates ${budget}`);
}

function whenAborted(signal: AbortSignal): Promise<"stopped"> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve("stopped");
    signal.addEventListener("abort", () => resolve("stopped"), { once: true });
  });
}
