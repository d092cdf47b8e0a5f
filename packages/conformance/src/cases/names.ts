/** Odd names, long names, and names that could be taken for each other. */
import assert from "node:assert/strict";
import { topic as declareTopic } from "@sluice/core";
import type { DeclaredTopic, Driver, Resource } from "@sluice/core/driver";
import { type Case, defineCase } from "../case.ts";
import type { CaseContext, ItemTopic } from "../context.ts";
import { untilDead } from "../dead-letters.ts";
import { conserve, effects, movedRetry, publishAll, readable, subscribe } from "../flow.ts";
import { type Item, makeItems } from "../payload.ts";
import { refuses } from "./needs.ts";

/** Legal on no broker, or not on all: refused by core, the same everywhere. */
const illegal = [
  ["", " ", "a b", "a/b", "a#", "*", "a%b", "a:b", "..", ".a", "-a", "_a", "a\n", "a\u0000", "a,b", "a@b", "a>b"],
  ["{a}", "a?b", "a\\b", "ü", "🦊", "e\u0301", "x".repeat(129), "__proto__"],
].flat();

/** Legal, and each of them has a meaning somewhere. */
const odd = [
  ["a.b", "a-b", "a_b", "A.b", "a..b", "a.", "a.b.retry", "a.b.dlq", "a.b.own", "a.b.all", "a.0", "0"],
  ["goog", "x.fifo", "x.fifo.y", "constructor", "toString", "sluice", "retry", "dlq", "delay", "amq.topic", "con"],
].flat();

export const names: readonly Case[] = [
  defineCase({
    id: "G-17a",
    title: "Names work as they are, or are refused",
    rule: "Every name works end to end under exactly that name, or is refused with a typed error; no two are ever one.",
    required: true,
    profile: "standard",
    groupless: true,
    run: (context) => everyName(context),
  }),
  defineCase({
    id: "G-17c",
    title: "Topics, groups and what belongs to them never meet",
    rule: "What any two topics and groups need on the broker differs, or the second declaration is refused: retries and dead letters included.",
    required: true,
    profile: "standard",
    async run(context) {
      const { driver } = await context.connection();
      distinct(driver);
      await apart(context);
    },
  }),
];

async function everyName(context: CaseContext): Promise<void> {
  const bus = await context.connect();
  const base = context.name("n");
  for (const name of illegal) {
    const shown = JSON.stringify(name.slice(0, 20));
    assert.throws(() => declareTopic(name), { code: "CONFIG" }, `topic name ${shown}`);
    const call = () => bus.subscribe(context.topic(), readable(bus, { group: name }), () => {});
    await refuses("CONFIG", `group name ${shown}`, call);
  }
  const longest = Math.min(120, context.facts.limits.nameBytes - 10);
  const long = ["y", "z"].map((end) => `${base.padEnd(longest - 1, "x")}${end}`);
  const declare = (name: string): ItemTopic =>
    declareTopic<Item>(name, { shards: 1, key: (item) => item.key, ordering: "none" });
  const topics = [...odd.map((tail) => `${base}.${tail}`), ...long].map(declare);
  const opened = await Promise.allSettled(topics.map((topic) => subscribe(context, bus, topic, { group: "g" })));
  const usable = topics.filter((_, index) => opened[index]?.status === "fulfilled");
  for (const [index, topic] of topics.entries()) {
    const result = opened[index];
    if (result?.status !== "rejected") continue;
    // A broker that cannot carry a name, or for which two names are one, says so when it is declared.
    const refused = () => Promise.reject(result.reason);
    await refuses(["CONFIG", "UNSUPPORTED"], `subscribing to ${topic.name}`, refused, { names: topic.name });
  }
  assert.ok(usable.length >= topics.length - 3, `only ${usable.length} of ${topics.length} names work`);
  const items = (index: number) => makeItems(context.run, 2, { producer: `p${index}` });
  await Promise.all(usable.map((topic, index) => publishAll(context, bus, topic, items(index))));
  for (const topic of usable) await effects(context, topic, "g", 2);
  await bus.drain({ deadline: 10_000 });
  for (const topic of usable) await conserve(context, topic, "g");
}

const tricky = [
  "a",
  "a.b",
  "a.b.c",
  "a-b",
  "a_b",
  "a.g",
  "a.g.h",
  "a.retry",
  "a.dlq",
  "a.g.retry",
  "a.g.dlq",
  "a_-b",
  "A",
];
const trickyGroups = [
  "g",
  "g.h",
  "b",
  "b.c",
  "c",
  "b-c",
  "b_c",
  "b_-c",
  "retry",
  "dlq",
  "g.retry",
  "g.dlq",
  "all",
  "00",
  "G",
];

/** Pure: over every pair of topic and group, one name has one owner. */
function distinct(driver: Driver): void {
  const owners = new Map<string, string>();
  const claim = (owner: string, resources: readonly Resource[]) => {
    for (const { kind, name, shared } of resources) {
      const key = `${kind} ${name}`;
      const known = owners.get(key);
      if (known === undefined) owners.set(key, owner);
      const same = shared === true || known === undefined || owner === known || owner.startsWith(`${known} / `);
      assert.ok(same, `${known} and ${owner} would share the ${key}`);
    }
  };
  for (const ordered of [false, true]) {
    owners.clear();
    for (const name of tricky) {
      const topic: DeclaredTopic = { name, ordered, shards: 2, delays: true, groups: [] };
      claim(name, driver.topology({ topics: [topic] }));
      for (const group of trickyGroups) {
        const groups = [{ name: group, start: "now", retry: true, deadLetter: true } as const];
        claim(`${name} / ${group}`, driver.topology({ topics: [{ ...topic, groups }] }));
      }
    }
  }
}

/** On the broker: retries and dead letters of look-alikes stay with their own group. */
async function apart(context: CaseContext): Promise<void> {
  const bus = await context.connect();
  const base = context.name("n");
  const pairs = [
    ["", "g"],
    ["", "g.retry"],
    ["", "g.dlq"],
    [".g", "retry"],
    [".g", "dlq"],
    [".g.retry", "g"],
    [".g.dlq", "g"],
  ] as const;
  const topics = new Map(
    pairs.map(([tail]) => [
      tail,
      declareTopic<Item>(`${base}${tail}`, { shards: 1, key: (item) => item.key, ordering: "none" }),
    ]),
  );
  for (const [tail, group] of pairs) {
    const topic = topics.get(tail) ?? assert.fail();
    await subscribe(context, bus, topic, { group, retry: { ...movedRetry, attempts: 2 } }, (item) => {
      if (item.n === 1) throw new Error("always fails");
    });
  }
  for (const [tail, topic] of topics) {
    await publishAll(context, bus, topic, makeItems(context.run, 2, { producer: `p${tail.replaceAll(".", "-")}` }));
  }
  for (const [tail, group] of pairs) {
    const topic = topics.get(tail) ?? assert.fail();
    await effects(context, topic, group, 1);
    await untilDead(context, topic.name, group, 1);
  }
  await bus.drain({ deadline: 10_000 });
  for (const [tail, group] of pairs) await conserve(context, topics.get(tail) ?? assert.fail(), group);
  const runs = context.journal.events.filter((event) => event.event === "handler-start");
  assert.equal(runs.length, 3 * pairs.length, "a message ran in a group that is not its own");
}
