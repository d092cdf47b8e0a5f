import assert from "node:assert/strict";
import { type Case, defineCase } from "../case.ts";
import type { CaseContext, ItemTopic } from "../context.ts";
import { within } from "../clock.ts";
import { conserve, effects, marks, movedRetry, quickRetry, recording, stated } from "../flow.ts";
import { idOf, type Item, makeItems, runHeader } from "../payload.ts";
import { refuses } from "./needs.ts";
import { untilDead } from "../dead-letters.ts";
import { subscribe } from "../flow.ts";
import type { Bus } from "@sluice/core";

/** Sends all items in one call and records intent and outcome of each. */
async function sendBatch(context: CaseContext, bus: Bus, topic: ItemTopic, items: readonly Item[]) {
  const fields = (item: Item) => ({ topic: topic.name, id: idOf(item), key: item.key, n: item.n });
  for (const item of items) context.ledger.write("publish-intent", fields(item));
  const entries = items.map((item) => ({
    payload: item,
    options: { id: idOf(item), ...marks(bus, topic.name, context.run, undefined) },
  }));
  const results = await bus.producer(topic).sendBatch(entries, stated(bus));
  assert.equal(results.length, items.length, "one result per entry");
  for (const [index, result] of results.entries()) {
    const item = items[index];
    assert.ok(item);
    context.ledger.write(result.status === "sent" ? "publish-ok" : "publish-failed", fields(item));
    if (result.status === "sent") assert.equal(result.receipt.id, idOf(item), "results keep the order of the entries");
  }
  return results;
}

export const batches: readonly Case[] = [
  defineCase({
    id: "BA-01",
    title: "A batch is sent in one call, with a result per message",
    rule: "sendBatch answers per message in the order of the entries, and all arrive.",
    required: false,
    profile: "smoke",
    groupless: true,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "g" });
      const items = makeItems(context.run, 10, { keys: 3 });
      const results = await sendBatch(context, bus, topic, items);
      assert.ok(results.every((result) => result.status === "sent"));
      await effects(context, topic, "g", 10);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "BA-03",
    title: "A batch handler gets batches of the asked size",
    rule: "No batch is larger than its size, and a backlog fills it.",
    required: false,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const items = makeItems(context.run, 40, { keys: 40 });
      await sendBatch(context, bus, topic, items);
      const sizes: number[] = [];
      const record = recording(context.ledger, topic.name, "g", context.run);
      const options = { group: "g", concurrency: 40, batch: { size: 8, wait: 500 }, retry: quickRetry } as const;
      await bus.subscribeBatch(topic, options, async (batch) => {
        sizes.push(batch.length);
        for (const each of batch) await record(each.payload, each.context);
      });
      await effects(context, topic, "g", 40);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
      assert.ok(Math.max(...sizes) <= 8, `sizes ${sizes.join(" ")}`);
      assert.ok(sizes.includes(8), `no full batch: sizes ${sizes.join(" ")}`);
    },
  }),
  defineCase({
    id: "BA-04",
    title: "One bad message in a batch fails alone",
    rule: "Outcomes are per item, and an unexplained throw is isolated: the other items are done.",
    required: false,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      for (const how of ["throws", "answers"] as const) {
        const topic = context.topic({ groups: ["g"] });
        const items = makeItems(context.run, 16, { keys: 16 });
        await sendBatch(context, bus, topic, items);
        const record = recording(context.ledger, topic.name, "g", context.run);
        const retry = { ...movedRetry, attempts: 2 };
        const options = { group: "g", batch: { size: 8, wait: 200 }, retry };
        await bus.subscribeBatch(topic, options, async (batch) => {
          const bad = batch.findIndex((each) => each.payload.key === "k5");
          if (bad >= 0 && how === "throws") throw new Error("the whole batch, for one message");
          for (const [index, each] of batch.entries()) if (index !== bad) await record(each.payload, each.context);
          return batch.map((_, index) => (index === bad ? new Error("this one") : undefined));
        });
        await effects(context, topic, "g", 15);
        await untilDead(context, topic.name, "g", 1);
        const result = await conserve(context, topic, "g");
        assert.equal(result.deadLettered, 1);
      }
      await within(10_000, "drain", bus.drain({ deadline: 5_000 }));
    },
  }),
  defineCase({
    id: "BA-05",
    title: "A batch above the broker's limit is split, and a bad entry fails alone",
    rule: "sendBatch takes any number; only the invalid entry fails; order per key is kept across the split.",
    required: false,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const ordered = context.facts.capabilities.ordered !== "absent";
      const topic = context.topic({ groups: ["g"], ordering: ordered ? "key" : "none" });
      await subscribe(context, bus, topic, { group: "g" });
      const most = context.facts.limits.batch.items;
      const count = context.size(50, Math.min(Number.isFinite(most) ? 2 * most + 1 : 500, 2_100));
      await sendBatch(context, bus, topic, makeItems(context.run, count, { keys: 20 }));
      await effects(context, topic, "g", count);
      const [good, bad, last] = makeItems(context.run, 3, { prefix: "z" });
      assert.ok(good && bad && last);
      const results = await bus.producer(topic).sendBatch([
        { payload: good, options: { id: idOf(good), headers: { [runHeader]: context.run } } },
        { payload: bad, options: { headers: { "sluice-attempts": "1" } } },
        { payload: last, options: { id: idOf(last), headers: { [runHeader]: context.run } } },
      ]);
      assert.deepEqual(
        results.map((result) => result.status),
        ["sent", "failed", "sent"],
      );
      const failed = results[1];
      await refuses("INVALID_MESSAGE", "the bad entry", () =>
        Promise.reject(failed?.status === "failed" ? failed.error : failed),
      );
      for (const item of [good, last]) {
        const fields = { topic: topic.name, id: idOf(item), key: item.key, n: item.n };
        context.ledger.write("publish-intent", fields);
        context.ledger.write("publish-ok", fields);
      }
      await effects(context, topic, "g", count + 2);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g", { ordered });
    },
  }),
];
