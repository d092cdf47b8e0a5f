/** Consume, process, produce: the sends of a handler and the acceptance of its message happen together or not at all. */
import assert from "node:assert/strict";
import type { Bus, Context } from "@sluice/core";
import { type Case, defineCase } from "../case.ts";
import { pause } from "../clock.ts";
import type { CaseContext, ItemTopic } from "../context.ts";
import { busiest, group, heldByOne, planFor, reach, ready, steadyFlow } from "../fault-tools.ts";
import { startPipeline } from "../fleet.ts";
import { conserve, effects, publishAll, quickRetry, subscribe } from "../flow.ts";
import { idOf, type Item, makeItems, runHeader } from "../payload.ts";
import { needs, refuses } from "./needs.ts";

/** Refused where there are none: a handler that believes in a transaction must not run without one. */
async function refused(context: CaseContext): Promise<void> {
  const bus = await context.connect();
  const topic = context.topic({ groups: ["g"] });
  const options = { group: "g", transactional: true };
  await refuses("UNSUPPORTED", "transactional: true", () => bus.subscribe(topic, options, () => {}));
}

export const transactions: readonly Case[] = [
  defineCase({
    id: "TX-01",
    title: "What a handler publishes comes with the acceptance of its message",
    rule: "In a transactional subscription every handled message leaves exactly what its handler published, once.",
    required: false,
    profile: "standard",
    needs: needs.transactions,
    inverse: refused,
    async run(context) {
      const { bus, input, output } = await pipeline(context, (item, handling, forward) => forward(item, handling));
      const items = makeItems(context.run, context.size(30, 200), { keys: 10 });
      expect(context, output, items);
      await publishAll(context, bus, input, items);
      await arrives(context, input, output, items);
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "TX-02",
    title: "A run that failed published nothing",
    rule: "What a handler published before it threw, or before it gave its message up, is never seen.",
    required: false,
    profile: "standard",
    needs: needs.transactions,
    inverse: refused,
    async run(context) {
      const { bus, input, output } = await pipeline(context, async (item, handling, forward) => {
        await forward(item, handling);
        const first = handling.message.attempt === 1;
        if (first && item.n % 5 === 1) throw new Error("after the publish");
        if (first && item.n % 5 === 2) return handling.retry({ delay: 20 });
        if (item.n % 5 === 3) return handling.deadLetter("after the publish");
        if (item.n % 5 === 4) return handling.drop("after the publish");
      });
      const items = makeItems(context.run, 50);
      const kept = items.filter((item) => item.n % 5 < 3);
      expect(context, output, kept);
      await publishAll(context, bus, input, items);
      await arrives(context, input, output, kept);
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "TX-03",
    title: "Killed between publish and acceptance",
    rule: "SIGKILL of members leaves each message's output exactly once: no run that died is seen, none is missing.",
    required: false,
    profile: "fault",
    uses: ["processes"],
    needs: needs.transactions,
    inverse: refused,
    limitMs: 240_000,
    run: (context) => killPipelines(context),
  }),
];

type Forward = (item: Item, context: Context) => Promise<void>;

/** A transactional subscription whose handler sends its messages on, and a reader of the output. */
async function pipeline(
  context: CaseContext,
  behaviour: (item: Item, handling: Context, forward: Forward) => ReturnType<Parameters<typeof subscribe>[4] & {}>,
): Promise<{ readonly bus: Bus; readonly input: ItemTopic; readonly output: ItemTopic }> {
  const input = context.topic({ groups: [group] });
  const output = context.topic({ groups: ["reader"] });
  const bus = await context.connect();
  await subscribe(context, await context.connect(), output, { group: "reader" });
  const forward: Forward = async (item, handling) => {
    const headers = { [runHeader]: context.run };
    await handling.publish(output, item, { id: idOf(item), headers });
  };
  const options = { group, transactional: true, retry: quickRetry };
  await subscribe(context, bus, input, options, (item, handling) => behaviour(item, handling, forward));
  return { bus, input, output };
}

/** The output has exactly these, once each, and nothing is left of the input. */
async function arrives(
  context: CaseContext,
  input: ItemTopic,
  output: ItemTopic,
  items: readonly Item[],
): Promise<void> {
  await effects(context, output, "reader", items.length);
  await conserve(context, input, group);
  await conserve(context, output, "reader");
}

/** The output's own account: what has to come out, as if somebody had published it. */
function expect(context: CaseContext, output: ItemTopic, items: readonly Item[]): void {
  for (const item of items) {
    const fields = { topic: output.name, id: idOf(item), key: item.key, n: item.n };
    context.ledger.write("publish-intent", fields);
    context.ledger.write("publish-ok", fields);
  }
}

async function killPipelines(context: CaseContext): Promise<void> {
  const input = context.topic({ groups: [group] });
  const output = context.topic({ groups: ["reader"] });
  await subscribe(context, await context.connect(), output, { group: "reader" });
  const { shards } = input;
  const sizes = { concurrency: 5, window: 10, shards, handlerMs: 30 };
  const plan = { input: input.name, output: output.name, group, reader: "reader", ...sizes };
  const bus = await context.connect();
  await publishAll(context, bus, input, makeItems(context.run, 1, { producer: "first" }));
  const members = [0, 1].map(() => startPipeline(context, plan));
  await Promise.all(members.map((member) => ready(context, member)));
  const count = context.size(50, 150);
  const items = makeItems(context.run, 1, { producer: "first" });
  expect(context, output, items);
  let kills = 0;
  // n.b. a message that meets every kill would be taken for their reason, which is another case's matter: each meets one.
  for (const producer of ["p1", "p2", "p3", "p4"]) {
    const flow = steadyFlow(context, input, count, 60, { bus, producer });
    expect(context, output, flow.items);
    items.push(...flow.items);
    await reach(context, input, items.length - count / 2);
    const victim = await busiest(context, input, members);
    context.ledger.write("fault", { detail: `kills ${victim.name}` });
    kills++;
    await victim.kill();
    members.splice(members.indexOf(victim), 1);
    await pause(300);
    members.push(startPipeline(context, plan));
    await flow.done;
    await reach(context, input, items.length);
  }
  await effects(context, output, "reader", items.length);
  for (const member of members) await member.stop();
  const held = heldByOne(context, planFor(input));
  await conserve(context, input, group, { duplicates: kills * held });
  await conserve(context, output, "reader", { duplicates: 0 });
  assert.equal(kills, 4);
}
