import assert from "node:assert/strict";
import { type Case, defineCase } from "../case.ts";
import { monotonicMs, pause, poll, within } from "../clock.ts";
import { headerOf } from "../dead-letters.ts";
import {
  assertHeldCameAgain,
  assertNoOverlap,
  busiest,
  caughtUp,
  effectsSoFar,
  group,
  handedOutAgain,
  heldByOne,
  planFor,
  reach,
  ready,
  recoveryAfter,
  steadyFlow,
  untilIdle,
  whenAborted,
} from "../fault-tools.ts";
import { startConsumer, startProducer } from "../fleet.ts";
import { conserve, effects, publishAll, subscribe } from "../flow.ts";
import { account } from "../oracle.ts";
import { idOf, makeItems } from "../payload.ts";

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
      const count = context.size(240, 900);
      const flow = steadyFlow(context, topic, count, 150);
      const kills: { at: number; name: string }[] = [];
      for (const share of [0.25, 0.5, 0.75]) {
        await reach(context, topic, Math.floor(count * share));
        const victim = await busiest(context, topic, members);
        context.ledger.write("fault", { detail: `kills ${victim.name}` });
        kills.push({ at: monotonicMs(), name: victim.name });
        await victim.kill();
        members.splice(members.indexOf(victim), 1);
        await pause(500);
        members.push(startConsumer(context, plan));
      }
      await flow.done;
      await reach(context, topic, count + 1);
      // What a member had handled and not settled when it died comes again only after its lease.
      await caughtUp(context, topic);
      await untilIdle(context, topic);
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
      const count = context.size(400, 2_000);
      const plan = {
        topic: topic.name,
        groups: [group],
        ordered: false,
        shards: topic.shards,
        count,
        keys: 20,
        concurrency: 50,
        confirmed: [],
        pauseMs: 5,
      };
      const first = startProducer(context, plan);
      const confirmed = () => context.journal.ids("publish-ok", topic.name);
      await context.journal.until(
        "half is confirmed",
        { idleMs: 30_000, totalMs: 60_000 },
        () => confirmed().size >= count / 2,
      );
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
      await untilIdle(context, topic);
      await bus.drain({ deadline: 10_000 });
      await conserve(context, topic, group, { duplicates: plan.concurrency });
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
      const count = context.size(300, 1_500);
      const flow = steadyFlow(context, topic, count, 60, { keys: 24 });
      let faultsSoFar = 0;
      const steps = ["join", "join", "leave", "join", "kill", "join", "freeze", "leave", "kill", "join"] as const;
      for (const step of steps) {
        await pause(context.size(300, 1_800));
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
      // What a member had handled and not settled when it died comes again only after its lease.
      await caughtUp(context, topic);
      await untilIdle(context, topic);
      for (const member of members) await member.stop();
      context.journal.catchUp();
      const budget = faultsSoFar * heldByOne(context, plan);
      const result = account(context.journal.events, topic.name, group);
      const inOrder = context.harness.environment.redeliversInOrder !== false;
      const early = inOrder ? result.reorder : result.reorder.filter((text) => !handedOutAgain(context, topic, text));
      assert.deepEqual(early, [], "first deliveries changed places");
      await conserve(context, topic, group, { ordered: ordered && inOrder, duplicates: budget });
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
      const items = makeItems(context.run, context.size(80, 200), { keys: 20 });
      await publishAll(context, bus, topic, items);
      const poison = items[49];
      assert.ok(poison);
      const plan = planFor(topic, { poison: idOf(poison), handlerMs: [2, 5] });
      const { release } = context.facts.capabilities;
      const convict = release !== "absent" && release.counted ? 7 : 4;
      let deaths = 0;
      const innocent = () => effectsSoFar(context, topic) >= items.length - 1;
      let member = startConsumer(context, plan);
      const convicted = async () => {
        const letters = await context.raw.deadLetters(topic.name, group);
        // By id: a letter whose confirmation was lost may be there twice.
        const ids = new Set(letters.map(({ body }) => idOf(JSON.parse(Buffer.from(body ?? []).toString()))));
        ids.delete(idOf(poison));
        assert.deepEqual([...ids], [], `innocent messages were convicted (${deaths} deaths)`);
        return (innocent() && letters.length > 0) || undefined;
      };
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
        await poll(
          180_000,
          () =>
            `the poison is convicted and the others are handled (${deaths} deaths, ${effectsSoFar(context, topic)} handled)`,
          convicted,
          200,
        );
        await untilIdle(context, topic);
      } finally {
        stop.abort();
        await supervising;
      }
      await member.stop();
      for (const { headers } of await context.raw.deadLetters(topic.name, group)) {
        assert.equal(headerOf(headers, "dlq-reason"), "crash-suspect");
      }
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
      assert.equal(
        (await context.raw.deadLetters(topic.name, group)).length,
        0,
        "a count that is not declared convicted",
      );
    },
  }),
  defineCase({
    id: "G-06b",
    title: "Consumers that die while nothing comes",
    rule: "Deaths of idle consumers accuse nobody: what comes afterwards is handled, and never suspected.",
    required: false,
    profile: "fault",
    uses: ["processes"],
    limitMs: 240_000,
    needs: { what: "deliveries", holds: ({ capabilities }) => capabilities.deliveries !== "absent" },
    async run(context) {
      const topic = context.topic({ groups: [group] });
      const bus = await context.connect();
      const items = makeItems(context.run, 40, { keys: 20 });
      // Some first, so that there is a position behind which they idle.
      await publishAll(context, bus, topic, items.slice(0, 20));
      const plan = planFor(topic);
      for (let death = 0; death < 6; death++) {
        const member = startConsumer(context, plan);
        await ready(context, member);
        await caughtUp(context, topic);
        context.ledger.write("fault", { detail: `kills ${member.name}` });
        await member.kill();
      }
      await publishAll(context, bus, topic, items.slice(20));
      const last = startConsumer(context, plan);
      await caughtUp(context, topic);
      await untilIdle(context, topic);
      await last.stop();
      const letters = await context.raw.deadLetters(topic.name, group);
      assert.deepEqual(letters, [], "innocent messages were convicted");
      // What the first one had handled and not settled for good when it died.
      await conserve(context, topic, group, { duplicates: 6 * heldByOne(context, plan) });
    },
  }),
];
