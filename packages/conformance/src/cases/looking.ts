/** What the broker tells about messages that nobody takes, and what it does in one step. */
import assert from "node:assert/strict";
import { DriverError, type Backlog, type Unit } from "@sluice/core/driver";
import { type Case, defineCase } from "../case.ts";
import { poll } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { untilDead } from "../dead-letters.ts";
import { conserve, depth, effects, publishAll, subscribe } from "../flow.ts";
import { idOf, makeItems } from "../payload.ts";
import { acceptAll, declare, prepare, put, receiverOf, record, take, textOf } from "../seam.ts";
import { needs, refuses } from "./needs.ts";

export const looking: readonly Case[] = [
  defineCase({
    id: "BL-01",
    title: "The backlog is what waits",
    rule: "ready counts what a group has not been given, exactly or nearly, as declared; what the broker cannot tell is left out, never 0.",
    required: false,
    profile: "standard",
    needs: needs.backlog,
    run: (context) => countBacklog(context),
    async inverse(context) {
      const parts = await context.connection();
      const topic = context.name();
      await declare(parts, topic, ["g"]);
      await put(parts.connection, { topic }, ["A", "B"]);
      const backlog = await parts.connection.backlog({ topic, group: "g", start: "now" }, AbortSignal.timeout(10_000));
      const told = Object.entries(backlog).filter(([, value]) => value !== undefined);
      assert.deepEqual(told, [], "a backlog that is declared absent");
    },
  }),
  defineCase({
    id: "RD-12",
    title: "Dead letters are listed without being taken",
    rule: "list gives every dead letter, page by page, and leaves them where they are.",
    required: false,
    profile: "standard",
    needs: needs.browse,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "g" }, (_, handling) => handling.deadLetter("refused"));
      const items = makeItems(context.run, 5, { keys: 5 });
      await publishAll(context, bus, topic, items);
      await untilDead(context, topic.name, "g", items.length);
      const wanted = new Set(items.map(idOf));
      for (const round of ["once", "again"]) {
        const ids = new Set<string | undefined>();
        let listed = 0;
        let after: string | undefined;
        do {
          const options = { max: 2, ...(after !== undefined && { after }) };
          const page = await bus.deadLetters(topic, { group: "g" }).list(options);
          assert.ok(page.letters.length <= 2, `a page of ${page.letters.length}, asked for 2`);
          for (const { id } of page.letters) ids.add(id);
          listed += page.letters.length;
          after = page.next;
        } while (after !== undefined && listed <= items.length);
        assert.deepEqual(ids, wanted, `listed ${round}`);
        assert.equal(listed, items.length, "a dead letter was listed twice");
      }
      await untilDead(context, topic.name, "g", items.length);
      await bus.drain({ deadline: 5_000 });
    },
    async inverse(context) {
      if (context.facts.capabilities.deadLetter === "absent") return; // Then AM-02 tests their refusal.
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      await refuses("UNSUPPORTED", "list", () => bus.deadLetters(topic, { group: "g" }).list());
    },
  }),
  defineCase({
    id: "GR-07",
    title: "A new group begins where it says",
    rule: "A group with start: 'earliest' gets what is retained from before it existed; one with 'now' gets only what comes later.",
    required: false,
    profile: "standard",
    needs: needs.earliest,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["first"] });
      const before = makeItems(context.run, 5, { producer: "before" });
      await publishAll(context, bus, topic, before);
      await subscribe(context, bus, topic, { group: "late", start: "earliest" });
      await subscribe(context, bus, topic, { group: "later", start: "now" });
      await publishAll(context, bus, topic, makeItems(context.run, 5, { producer: "after" }));
      await effects(context, topic, "late", 10);
      await effects(context, topic, "later", 5);
      await depth(context, topic.name, "later", 0);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "late");
      const seen = [...context.journal.ids("effect", topic.name, "later").keys()];
      assert.deepEqual(
        seen.filter((id) => id.includes(".before.")),
        [],
        "a group that begins now got what was sent before",
      );
    },
    async inverse(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const options = { group: "g", start: "earliest" } as const;
      await refuses("UNSUPPORTED", "start: 'earliest'", () => subscribe(context, bus, topic, options));
    },
  }),
  defineCase({
    id: "CM-01",
    title: "Copy and acceptance in one step",
    rule: "commit stores every send of a unit and accepts its records, or does neither.",
    required: false,
    profile: "standard",
    needs: needs.commit,
    run: (context) => commitUnits(context),
  }),
];

async function countBacklog(context: CaseContext): Promise<void> {
  const bus = await context.connect();
  const topic = context.topic({ groups: ["g"] });
  const count = 12;
  await publishAll(context, bus, topic, makeItems(context.run, count, { keys: 4 }));
  const { connection } = await context.connection();
  const source = { topic: topic.name, group: "g", start: "now" } as const;
  const slack = context.facts.capabilities.backlog === "exact" ? 0 : count / 2;
  const near = async (wanted: number) => {
    let last: Backlog = {};
    const what = () => `the backlog is ${wanted} (it is ${JSON.stringify(last)})`;
    await poll(context.harness.timing.recoveryMs, what, async () => {
      last = await connection.backlog(source, AbortSignal.timeout(10_000));
      return last.ready !== undefined && Math.abs(last.ready - wanted) <= (wanted === 0 ? 0 : slack) ? true : undefined;
    });
    return last;
  };
  const { oldestMs } = await near(count);
  if (oldestMs !== undefined) assert.ok(oldestMs >= 0 && oldestMs < 600_000, `the oldest is ${oldestMs} ms old`);
  const subscription = await subscribe(context, bus, topic, { group: "g" });
  await effects(context, topic, "g", count);
  await depth(context, topic.name, "g", 0);
  await near(0);
  const [own] = [await subscription.backlog()];
  assert.ok(typeof own === "object", "subscription.backlog() answers");
  await bus.drain({ deadline: 5_000 });
}

async function commitUnits(context: CaseContext): Promise<void> {
  const { connection, topic } = await prepare(context, ["A", "B"]);
  const receiver = await receiverOf(context, connection, topic, "g");
  const [first, second] = await take(receiver, 2, context.limits().idleMs);
  assert.ok(first && second, "two records");
  const commit = async (unit: Unit) => (await receiver.commit?.([unit]))?.[0];
  const dead = { to: { topic, group: "g", deadLetter: true }, record: record("copy-1", "A"), from: first } as const;
  const nowhere = { to: { topic, group: "nobody" }, record: record("copy-2", "B"), from: second } as const;
  assert.equal(await commit({ accept: [first], send: [dead] }), "durable");
  const refused = await commit({ accept: [second], send: [{ ...dead, record: record("copy-3", "B") }, nowhere] });
  const undone = refused instanceof DriverError || refused === "unknown" || refused === "lost";
  assert.ok(undone, `a unit with a send to nobody answered ${String(refused)}`);
  await receiver.close(AbortSignal.timeout(5_000));
  assert.equal((await untilDead(context, topic, "g", 1)).length, 1, "half of a unit was done");
  const next = await receiverOf(context, connection, topic, "g");
  const left = await take(next, 1, (context.facts.lease?.ms ?? 0) + context.limits().idleMs);
  assert.deepEqual(left.map(textOf), ["B"], "the record of a refused unit is still the group's");
  await acceptAll(next, left);
  await depth(context, topic, "g", 0);
}
