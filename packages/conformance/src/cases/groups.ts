import assert from "node:assert/strict";
import { type Case, defineCase } from "../case.ts";
import { pause } from "../clock.ts";
import { untilDead } from "../dead-letters.ts";
import { conserve, depth, effects, movedRetry, publishAll, publishOne, recording, stated, subscribe } from "../flow.ts";
import { idOf, makeItems } from "../payload.ts";
import { needs, refuses } from "./needs.ts";

export const groups: readonly Case[] = [
  defineCase({
    id: "GR-01",
    title: "Two groups each get everything",
    rule: "Every group of a topic gets every message.",
    required: false,
    profile: "smoke",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "one" });
      await subscribe(context, bus, topic, { group: "two" });
      await publishAll(context, bus, topic, makeItems(context.run, 50, { keys: 5 }));
      await effects(context, topic, "one", 50);
      await effects(context, topic, "two", 50);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "one");
      await conserve(context, topic, "two");
    },
  }),
  defineCase({
    id: "GR-02",
    title: "Members of a group share the work",
    rule: "Each of three members handles some messages, and together they handle each message once.",
    required: true,
    profile: "smoke",
    async run(context) {
      const topic = context.topic({ groups: ["g"] });
      const buses = await Promise.all([context.connect(), context.connect(), context.connect()]);
      const members = ["one", "two", "three"].map((name) => context.journal.ledger(name));
      for (const [index, bus] of buses.entries()) {
        const options = { group: "g", concurrency: 1, window: 2 };
        await subscribe(context, bus, topic, options, () => pause(10), members[index]);
      }
      const [bus] = buses;
      assert.ok(bus);
      const items = makeItems(context.run, 90, { keys: 90 });
      await publishAll(context, bus, topic, items);
      await effects(context, topic, "g", items.length);
      await Promise.all(buses.map((each) => each.drain({ deadline: 5_000 })));
      await conserve(context, topic, "g");
      const shares = members.map(
        ({ process }) =>
          context.journal.events.filter((event) => event.event === "effect" && event.process === process).length,
      );
      assert.ok(
        shares.every((share) => share > 0),
        `one member got nothing: ${shares.join(", ")}`,
      );
    },
  }),
  defineCase({
    id: "GR-03",
    title: "Every running instance of a broadcast gets every message",
    rule: "Two instances both get a message; one that left misses what was sent meanwhile and nothing else.",
    required: false,
    profile: "standard",
    groupless: true,
    needs: needs.broadcast,
    async run(context) {
      const topic = context.topic({ unrouted: "allow" });
      const seen: string[] = [];
      const listen = async (name: string) => {
        const bus = await context.connect();
        const subscription = await bus.subscribe(
          topic,
          { broadcast: "cache", ...stated(bus) },
          async (item, { message }) => {
            seen.push(`${name}${item.n}`);
            await recording(context.ledger, topic.name, name, context.run)(item, { message } as never);
          },
        );
        return { bus, subscription };
      };
      const got = (name: string, count: number) => effects(context, topic, name, count);
      const publisher = await context.connect();
      const send = (n: number) => publishAll(context, publisher, topic, makeItems(context.run, 1, { after: n - 1 }));
      await listen("a");
      const second = await listen("b");
      await send(1);
      await got("a", 1);
      await got("b", 1);
      await second.subscription.close();
      await second.bus.close();
      await send(2);
      await got("a", 2);
      await listen("c");
      await send(3);
      await got("a", 3);
      await got("c", 1);
      assert.deepEqual(seen.sort(), ["a1", "a2", "a3", "b1", "c3"]);
    },
    async inverse(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await refuses("UNSUPPORTED", "a broadcast", () => bus.subscribe(topic, { broadcast: "cache" }, () => {}));
    },
  }),
  defineCase({
    id: "GR-04",
    title: "Groups settle independently",
    rule: "Retries and dead letters of one group are not seen by another.",
    required: false,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const retry = { ...movedRetry, attempts: 3 };
      await subscribe(context, bus, topic, { group: "calm" });
      await subscribe(context, bus, topic, { group: "failing", retry }, () => {
        throw new Error("this group fails");
      });
      const items = makeItems(context.run, 5);
      await publishAll(context, bus, topic, items);
      await effects(context, topic, "calm", 5);
      const failed = () => context.journal.total("handler-end", topic.name, "failing");
      await context.journal.until("every message failed three times", context.limits(), () => failed() >= 15);
      await untilDead(context, topic.name, "failing", 5);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "calm");
      await conserve(context, topic, "failing");
      assert.equal(failed(), 15);
      assert.equal(context.journal.total("handler-start", topic.name, "calm"), 5, "the calm group saw a retry");
      assert.equal((await context.raw.deadLetters(topic.name, "calm")).length, 0);
    },
  }),
  defineCase({
    id: "GR-05",
    title: "A group that the producer declares keeps messages for its first consumer",
    rule: "Groups named in the topic exist before the first message, each with its own backlog.",
    required: false,
    profile: "standard",
    async run(context) {
      const topic = context.topic({ groups: ["one", "two"] });
      const producer = await context.connect();
      await publishAll(context, producer, topic, makeItems(context.run, 10, { keys: 2 }));
      await producer.close();
      for (const group of ["one", "two"]) {
        const bus = await context.connect();
        await subscribe(context, bus, topic, { group });
        await effects(context, topic, group, 10);
        await bus.drain({ deadline: 5_000 });
        await conserve(context, topic, group);
      }
    },
  }),
  defineCase({
    id: "GR-09",
    title: "A filter lets only matching messages through",
    rule: "Messages whose headers do not match are accepted unseen; the others arrive.",
    required: false,
    profile: "standard",
    groupless: true,
    needs: needs.filter,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g", "all"] });
      const filter = { region: ["eu", "us"], kind: { prefix: "order." } };
      await subscribe(context, bus, topic, { group: "g", filter, retry: movedRetry }, (_, { message }) => {
        if (message.attempt === 1) throw new Error("what matched comes again, whatever way it takes");
      });
      await subscribe(context, bus, topic, { group: "all" });
      const headers = [
        { region: "eu", kind: "order.placed" },
        { region: "asia", kind: "order.placed" },
        { region: "us", kind: "refund" },
        { region: "us", kind: "order.paid" },
        { kind: "order.paid" },
      ];
      const items = makeItems(context.run, headers.length);
      for (const [index, item] of items.entries()) {
        await publishOne(context.ledger, context.run, bus, topic, item, { headers: headers[index] ?? {} });
      }
      await effects(context, topic, "g", 2);
      await effects(context, topic, "all", headers.length);
      await depth(context, topic.name, "g", 0); // Also those that nobody saw are settled.
      await bus.drain({ deadline: 5_000 });
      const seen = [...context.journal.ids("handler-start", topic.name, "g").keys()].sort();
      assert.deepEqual(seen, [items[0], items[3]].flatMap((item) => (item ? [idOf(item)] : [])).sort());
    },
    async inverse(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const options = { group: "g", filter: { region: "eu" } };
      await refuses("UNSUPPORTED", "a filter", () => subscribe(context, bus, topic, options));
    },
  }),
];
