import assert from "node:assert/strict";
import { type Case, defineCase } from "../case.ts";
import { pause, poll, within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { conserve, effects, publishAll, quickRetry, recordDeadLetters, subscribe } from "../flow.ts";
import { idOf, type Item, makeItems } from "../payload.ts";
import { needs, refuses } from "./needs.ts";

/** Every ordered case has the same refusal: the broker cannot keep the order, and says so at the call. */
async function refused(context: CaseContext): Promise<void> {
  const bus = await context.connect();
  const topic = context.topic({ ordering: "key" });
  await refuses("UNSUPPORTED", "an ordered subscription", () => subscribe(context, bus, topic, { group: "g" }));
}

/** Overlapping handlers of different keys: proof that order per key is not one lock over everything. */
function overlaps(context: CaseContext, topic: string): number {
  let running = 0;
  let most = 0;
  for (const event of context.journal.events
    .filter((each) => each.topic === topic)
    .sort((one, two) => one.at - two.at)) {
    if (event.event === "handler-start") most = Math.max(most, ++running);
    else if (event.event === "effect" || event.event === "handler-end") running--;
  }
  return most;
}

export const ordering: readonly Case[] = [
  defineCase({
    id: "OR-01",
    title: "Competing members keep the order per key",
    rule: "What was published in order per key before anybody read is handled in that order, whoever handles it.",
    required: false,
    profile: "standard",
    needs: needs.ordered,
    inverse: refused,
    async run(context) {
      const topic = context.topic({ ordering: "key", groups: ["g"] });
      const publisher = await context.connect();
      const items = makeItems(context.run, context.size(40, 320), { keys: 16 });
      await publishAll(context, publisher, topic, items, { concurrency: 1 });
      const buses = await Promise.all([context.connect(), context.connect(), context.connect()]);
      await Promise.all(buses.map((bus) => subscribe(context, bus, topic, { group: "g" }, () => pause(1))));
      await effects(context, topic, "g", items.length);
      await Promise.all(buses.map((bus) => bus.drain({ deadline: 10_000 })));
      await conserve(context, topic, "g", { ordered: true, duplicates: items.length });
      assert.ok(overlaps(context, topic.name) > 1, "no two keys were handled at the same time");
    },
  }),
  defineCase({
    id: "OR-02",
    title: "One key, published one after another, handled one after another",
    rule: "Messages of one key never overlap and never change places.",
    required: false,
    profile: "smoke",
    needs: needs.ordered,
    inverse: refused,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ ordering: "key" });
      const published = Promise.withResolvers<void>();
      // The first one is held until the others are there: whoever ignores the key starts them beside it.
      const handler = (item: Item) => (item.n === 1 ? published.promise : pause(0));
      await subscribe(context, bus, topic, { group: "g" }, handler);
      const items = makeItems(context.run, context.size(20, 150));
      await publishAll(context, bus, topic, items, { concurrency: 1 });
      published.resolve();
      await effects(context, topic, "g", items.length);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g", { ordered: true });
      assert.equal(overlaps(context, topic.name), 1, "two messages of one key at the same time");
    },
  }),
  defineCase({
    id: "OR-03",
    title: "Publishing without waiting keeps the order of a key",
    rule: "Calls of publish for one key are stored in the order of the calls, though nobody awaited them.",
    required: false,
    profile: "standard",
    needs: needs.ordered,
    inverse: refused,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ ordering: "key" });
      await subscribe(context, bus, topic, { group: "g" });
      const items = makeItems(context.run, context.size(30, 200), { keys: 3 });
      await publishAll(context, bus, topic, items, { concurrency: items.length });
      await effects(context, topic, "g", items.length);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g", { ordered: true });
    },
  }),
  defineCase({
    id: "OR-04",
    title: "Order survives failed handlers",
    rule: "An ordered retry never leaves its lane: the failed message is handled before its successors.",
    required: false,
    profile: "standard",
    needs: needs.ordered,
    inverse: refused,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ ordering: "key" });
      await subscribe(context, bus, topic, { group: "g" }, (item, { message }) => {
        if (item.n % 7 === 3 && message.attempt < 3) throw new Error("fails twice");
      });
      const items = makeItems(context.run, context.size(30, 150), { keys: 5 });
      await publishAll(context, bus, topic, items, { concurrency: items.length });
      await effects(context, topic, "g", items.length);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g", { ordered: true });
    },
  }),
  defineCase({
    id: "OR-05",
    title: "One key waits, two keys do not; a dead letter frees its key",
    rule: "A key's next message starts when the one before is settled, dead-lettered included; other keys flow.",
    required: false,
    profile: "standard",
    needs: needs.ordered,
    inverse: refused,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ ordering: "key" });
      const both = Promise.withResolvers<void>();
      const heads = new Set<string>();
      await subscribe(context, bus, topic, { group: "g" }, async (item, handling) => {
        if (item.n > 1) return;
        if (heads.add(item.key).size === 2) both.resolve();
        await within(context.limits().idleMs, "the heads of two keys at once", both.promise);
        if (item.key === "k0") return handling.deadLetter("the head of its key is refused");
      });
      await publishAll(context, bus, topic, makeItems(context.run, 6, { keys: 2 }), { concurrency: 1 });
      await effects(context, topic, "g", 5);
      await bus.drain({ deadline: 5_000 });
      const result = await conserve(context, topic, "g", { ordered: true });
      assert.equal(result.deadLettered, 1);
    },
  }),
  defineCase({
    id: "OR-06",
    title: "A head that waits for its retry blocks its key and no other",
    rule: "While the head of a key waits, its successors wait with it; the head returns as attempt 2.",
    required: false,
    profile: "standard",
    needs: needs.ordered,
    inverse: refused,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ ordering: "key" });
      const attempts: number[] = [];
      let others = 0;
      await subscribe(context, bus, topic, { group: "g" }, (item, handling) => {
        if (item.key === "k1") others++;
        if (item.key !== "k0" || item.n !== 1) return;
        attempts.push(handling.message.attempt);
        if (handling.message.attempt === 1) return handling.retry({ delay: 500 });
        // However slowly the other key is published: the head waits until all of it was handled.
        if (others < 4) return handling.defer(100);
      });
      await publishAll(context, bus, topic, makeItems(context.run, 8, { keys: 2 }), { concurrency: 1 });
      await effects(context, topic, "g", 8);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g", { ordered: true });
      assert.deepEqual([...new Set(attempts)], [1, 2]);
      const done = context.journal.events.filter((event) => event.event === "effect").map((event) => event.key);
      assert.ok(done.lastIndexOf("k1") < done.indexOf("k0"), `the other key waited too: ${done.join(" ")}`);
    },
  }),
  defineCase({
    id: "G-20",
    title: "Order per key under retries, with a poisoned key",
    rule: "Failures reorder nothing, a poisoned message parks, and the other keys do not wait for it.",
    required: false,
    profile: "standard",
    needs: needs.ordered,
    inverse: refused,
    async run(context) {
      const topic = context.topic({ ordering: "key", groups: ["g"] });
      const buses = await Promise.all([context.connect(), context.connect(), context.connect()]);
      const [keys, each] = [context.size(5, 10), context.size(5, 20)];
      const items = makeItems(context.run, keys * each, { keys });
      const poison = items.find((item) => item.key === "k2" && item.n === 3);
      assert.ok(poison);
      const failing = new Set(items.filter(() => context.random() < 0.1).map(idOf));
      const retry = { ...quickRetry, attempts: 3 };
      for (const bus of buses) {
        await subscribe(context, bus, topic, { group: "g", retry }, async (item, { message }) => {
          await pause(1 + context.random() * 8);
          if (item.hash === poison.hash) throw new Error("always fails");
          if (failing.has(idOf(item)) && message.attempt === 1) throw new Error("fails once");
        });
      }
      const [bus] = buses;
      assert.ok(bus);
      await publishAll(context, bus, topic, items, { concurrency: 50 });
      await effects(context, topic, "g", items.length - 1);
      const parked = async () => (await recordDeadLetters(context, topic.name, "g")) === 1 || undefined;
      await poll(context.limits().totalMs, "the poison is dead-lettered", parked);
      await Promise.all(buses.map((one) => one.drain({ deadline: 10_000 })));
      await conserve(context, topic, "g", { ordered: true });
      assert.ok(overlaps(context, topic.name) > 1, "no two keys were handled at the same time");
    },
  }),
];
