/** A whole group moved to another position. */
import assert from "node:assert/strict";
import type { Bus } from "@sluice/core";
import { isSluiceError } from "@sluice/core";
import { type Case, defineCase } from "../case.ts";
import { pause } from "../clock.ts";
import type { CaseContext, ItemTopic } from "../context.ts";
import { depth, describe, effects, publishAll, subscribe } from "../flow.ts";
import { idOf, type Item, makeItems } from "../payload.ts";
import { needs, refuses } from "./needs.ts";

/** Clocks of machines differ, and some brokers count in seconds. */
const clockMs = 1_500;

async function refused(context: CaseContext): Promise<void> {
  const bus = await context.connect();
  const topic = context.topic({ groups: ["g"] });
  await refuses("UNSUPPORTED", "seek", () => bus.seek(topic, { group: "g", to: "earliest" }));
}

export const seeking: readonly Case[] = [
  defineCase({
    id: "SK-01",
    title: "A group goes back to the beginning, and no other does",
    rule: "After seek to 'earliest' the group handles everything retained again, from attempt 1; other groups see nothing of it.",
    required: false,
    profile: "standard",
    needs: needs.seek,
    inverse: refused,
    async run(context) {
      const { bus, topic, items } = await handled(context, 10);
      const other = await context.connect();
      await subscribe(context, other, topic, { group: "other" });
      await effects(context, topic, "other", items.length);
      await bus.seek(topic, { group: "g", to: "earliest" });
      const late = await context.connect();
      await subscribe(context, late, topic, { group: "g" }, (_, { message }) => {
        assert.equal(message.attempt, 1, "a message that was sought counts attempts");
      });
      await times(context, topic, "g", items, 2);
      await late.drain({ deadline: 5_000 });
      await other.drain({ deadline: 5_000 });
      await depth(context, topic.name, "g", 0);
      assert.equal(
        context.journal.total("handler-start", topic.name, "other"),
        items.length,
        "another group was moved",
      );
    },
  }),
  defineCase({
    id: "SK-02",
    title: "A group skips what waits",
    rule: "After seek to 'now' the group handles nothing that was sent before, and everything that is sent after.",
    required: false,
    profile: "standard",
    needs: needs.seek,
    inverse: refused,
    async run(context) {
      const topic = context.topic({ groups: ["g"] });
      const bus = await context.connect();
      await publishAll(context, bus, topic, makeItems(context.run, 10, { producer: "before" }));
      await bus.seek(topic, { group: "g", to: "now" });
      const after = makeItems(context.run, 10, { producer: "after" });
      await publishAll(context, bus, topic, after);
      await subscribe(context, bus, topic, { group: "g" });
      await times(context, topic, "g", after, 1);
      await depth(context, topic.name, "g", 0);
      await bus.drain({ deadline: 5_000 });
      assert.equal(context.journal.total("handler-start", topic.name, "g"), after.length, "what was skipped came");
    },
  }),
  defineCase({
    id: "SK-03",
    title: "A group goes back to a time",
    rule: "After seek to a time the group handles exactly what was sent from then on.",
    required: false,
    profile: "standard",
    needs: needs.seek,
    inverse: refused,
    async run(context) {
      const { bus, topic, items, time } = await handled(context, 5, async () => {
        await pause(clockMs);
        const middle = new Date();
        await pause(clockMs);
        return middle;
      });
      await bus.seek(topic, { group: "g", to: time });
      const late = await context.connect();
      await subscribe(context, late, topic, { group: "g" });
      const [first, second] = [items.slice(0, 5), items.slice(5)];
      await times(context, topic, "g", second, 2);
      await depth(context, topic.name, "g", 0);
      await late.drain({ deadline: 5_000 });
      await times(context, topic, "g", first, 1);
    },
  }),
  defineCase({
    id: "SK-04",
    title: "Under its members a group is moved or the call says BUSY",
    rule: "A seek while the group is read is BUSY, or the members themselves handle everything again; never a success without effect.",
    required: false,
    profile: "standard",
    needs: needs.seek,
    inverse: refused,
    run: (context) => seekUnderMembers(context),
  }),
];

/** A topic whose messages group `g` has handled, with nobody reading any more. */
async function handled(
  context: CaseContext,
  count: number,
  between?: () => Promise<Date>,
): Promise<{ readonly bus: Bus; readonly topic: ItemTopic; readonly items: readonly Item[]; readonly time: Date }> {
  const topic = context.topic({ groups: ["g", "other"] });
  const bus = await context.connect();
  const items = makeItems(context.run, count, { keys: 2 });
  await publishAll(context, bus, topic, items);
  const time = (await between?.()) ?? new Date();
  if (between) {
    const more = makeItems(context.run, count, { keys: 2, producer: "later" });
    await publishAll(context, bus, topic, more);
    items.push(...more);
  }
  const reader = await context.connect();
  await subscribe(context, reader, topic, { group: "g" });
  await effects(context, topic, "g", items.length);
  await reader.drain({ deadline: 5_000 });
  return { bus, topic, items, time };
}

/** Waits until each was handled so often, and never more. */
async function times(
  context: CaseContext,
  topic: ItemTopic,
  group: string,
  items: readonly Item[],
  wanted: number,
): Promise<void> {
  const seen = (item: Item) => context.journal.ids("effect", topic.name, group).get(idOf(item)) ?? 0;
  const explain = () => items.map((item) => `${idOf(item)} ${seen(item)}`).join(", ");
  const done = () => items.every((item) => seen(item) >= wanted);
  await context.journal.until(`each of ${items.length} was handled ${wanted} times`, context.limits(), done, explain);
  assert.deepEqual(items.filter((item) => seen(item) > wanted).map(idOf), [], `handled more than ${wanted} times`);
}

async function seekUnderMembers(context: CaseContext): Promise<void> {
  const topic = context.topic({ groups: ["g"] });
  const bus = await context.connect();
  const member = await context.connect();
  const items = makeItems(context.run, 5);
  await publishAll(context, bus, topic, items);
  const subscription = await subscribe(context, member, topic, { group: "g" });
  await effects(context, topic, "g", items.length);
  const problem = await bus.seek(topic, { group: "g", to: "earliest" }).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (problem !== undefined) {
    assert.ok(isSluiceError(problem, "BUSY"), `expected BUSY, got ${describe(problem)}`);
    assert.ok(problem.message.includes(topic.name), `"${problem.message}" does not name the topic`);
    await subscription.close();
    await bus.seek(topic, { group: "g", to: "earliest" });
    await subscribe(context, member, topic, { group: "g" });
  }
  await times(context, topic, "g", items, 2);
  await member.drain({ deadline: 5_000 });
}
