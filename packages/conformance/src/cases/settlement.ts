import assert from "node:assert/strict";
import { type Case, defineCase } from "../case.ts";
import { within } from "../clock.ts";
import { conserve, depth, effects, publishAll, subscribe } from "../flow.ts";
import { idOf, makeItems } from "../payload.ts";
import { openPull } from "../pull.ts";
import { acceptAll, prepare, put, receiverOf, take, textOf } from "../seam.ts";
import { needs } from "./needs.ts";

const letters = ["A", "B", "C", "D", "E"];

export const settlement: readonly Case[] = [
  defineCase({
    id: "AK-01",
    title: "A rejected message comes back",
    rule: "A handler that throws gets its message again until it succeeds; nothing else is repeated.",
    required: true,
    profile: "smoke",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const items = makeItems(context.run, context.size(20, 100), { keys: 5 });
      const rejected = new Set(items.filter((_, index) => index % 10 === 3).map(idOf));
      await subscribe(context, bus, topic, { group: "g" }, (item, { message }) => {
        if (rejected.has(idOf(item)) && message.attempt === 1) throw new Error("rejected once");
      });
      await publishAll(context, bus, topic, items);
      await effects(context, topic, "g", items.length);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
      const starts = context.journal.total("handler-start", topic.name, "g");
      assert.equal(starts, items.length + rejected.size, "only the rejected ones ran twice");
    },
  }),
  defineCase({
    id: "AK-02",
    title: "Three consumers fail on everything, the fourth gets everything",
    rule: "Persistent failure of consumers that come and go loses nothing and drops nothing.",
    required: true,
    profile: "standard",
    async run(context) {
      const topic = context.topic({ groups: ["g"] });
      const first = await context.connect();
      const items = makeItems(context.run, context.size(5, 50), { keys: 5 });
      await publishAll(context, first, topic, items);
      const retry = { attempts: 1_000, firstDelay: 20, factor: 1, maxDelay: 20 };
      for (let round = 1; round <= 3; round++) {
        const bus = await context.connect();
        const wanted = context.journal.total("handler-end", topic.name, "g") + 2 * items.length;
        await subscribe(context, bus, topic, { group: "g", retry }, () => {
          throw new Error("fails on everything");
        });
        const failed = () => context.journal.total("handler-end", topic.name, "g");
        await context.journal.until(`consumer ${round} fails`, context.limits(), () => failed() >= wanted);
        await bus.drain({ deadline: 5_000 });
        await bus.close();
      }
      const last = await context.connect();
      await subscribe(context, last, topic, { group: "g", retry });
      await effects(context, topic, "g", items.length);
      await last.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "AK-03",
    title: "An unsettled message holds back the next one of its key",
    rule: "In an ordered group the second message of a key starts only after the first is settled.",
    required: false,
    profile: "standard",
    needs: needs.ordered,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ ordering: "key" });
      const release = Promise.withResolvers<void>();
      const other = Promise.withResolvers<void>();
      await subscribe(context, bus, topic, { group: "g" }, (item) => {
        if (item.key === "x0") other.resolve();
        else if (item.n === 1) return release.promise;
      });
      await publishAll(context, bus, topic, makeItems(context.run, 2), { concurrency: 1 });
      await context.journal.until(
        "the first starts",
        context.limits(),
        () => context.journal.total("handler-start", topic.name, "g") > 0,
      );
      await publishAll(context, bus, topic, makeItems(context.run, 1, { prefix: "x" }));
      await within(context.limits().idleMs, "another key flows meanwhile", other.promise); // The sentinel.
      const second = () => context.journal.events.some((event) => event.event === "handler-start" && event.n === 2);
      assert.equal(second(), false, "the second message started before the first was settled");
      release.resolve();
      await effects(context, topic, "g", 3);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g", { ordered: true });
    },
  }),
  defineCase({
    id: "AK-04",
    title: "The committed position never passes an unsettled message",
    rule: "On a log, after A, B and D were accepted, the next holder gets C, then E, and never A or B.",
    required: false,
    profile: "standard",
    needs: needs.prefix,
    async run(context) {
      const { connection, topic } = await prepare(context, letters);
      const receiver = await receiverOf(context, connection, topic, "g");
      const taken = await take(receiver, 5, context.limits().idleMs);
      assert.deepEqual(taken.map(textOf), letters);
      await acceptAll(
        receiver,
        taken.filter((each) => "ABD".includes(textOf(each))),
      );
      await receiver.close(AbortSignal.timeout(5_000));
      const next = await receiverOf(context, connection, topic, "g");
      const again = await take(next, 2, context.limits().idleMs);
      // D was accepted: a log may hand it out again, and need not where it keeps more than a position.
      if (textOf(again[1] ?? assert.fail("nothing came after C")) === "D") {
        again.push(...(await take(next, 1, context.limits().idleMs)));
      }
      const texts = again.map(textOf).filter((text) => text !== "D");
      assert.deepEqual(texts, ["C", "E"], `the next holder got ${again.map(textOf).join(", ")}`);
      await acceptAll(next, again);
      await depth(context, topic, "g", 0);
    },
  }),
  defineCase({
    id: "AK-05",
    title: "Settlements are individual and survive the consumer",
    rule: "After A, B and D were accepted, the next holder gets C and E and nothing else.",
    required: false,
    profile: "standard",
    needs: needs.release,
    async run(context) {
      const { connection, topic } = await prepare(context, letters);
      const receiver = await receiverOf(context, connection, topic, "g");
      const taken = await take(receiver, 5, context.limits().idleMs);
      assert.deepEqual(taken.map(textOf).sort(), letters);
      const returned = taken.find((each) => textOf(each) === "E");
      assert.ok(returned);
      await acceptAll(
        receiver,
        taken.filter((each) => "ABD".includes(textOf(each))),
      );
      await receiver.settle([{ delivery: returned, accept: false, release: "returned" }]);
      await receiver.close(AbortSignal.timeout(5_000));
      await put(connection, { topic }, ["sentinel"], () => "k");
      const next = await receiverOf(context, connection, topic, "g");
      const again = await take(next, 3, context.limits().idleMs);
      assert.deepEqual(again.map(textOf).sort(), ["C", "E", "sentinel"]);
      await acceptAll(next, again);
      await depth(context, topic, "g", 0);
    },
  }),
  defineCase({
    id: "AK-07",
    title: "Settling twice settles nothing else",
    rule: "A second settlement of the same delivery answers lost and touches no other message.",
    required: true,
    profile: "standard",
    async run(context) {
      const { connection, topic } = await prepare(context, ["A", "B", "C"]);
      const receiver = await receiverOf(context, connection, topic, "g");
      const taken = await take(receiver, 3, context.limits().idleMs);
      assert.deepEqual(taken.map(textOf), ["A", "B", "C"]);
      const two = taken.slice(0, 2);
      await acceptAll(receiver, two);
      const again = await receiver.settle(two.map((delivery) => ({ delivery, accept: true })));
      assert.deepEqual(again, ["lost", "lost"], "the second settlement of the same deliveries");
      await receiver.flush(AbortSignal.timeout(5_000));
      await receiver.close(AbortSignal.timeout(5_000));
      await depth(context, topic, "g", 1);
      const next = await receiverOf(context, connection, topic, "g");
      const left = await take(next, 1, context.limits().idleMs);
      assert.deepEqual(left.map(textOf), ["C"]);
      await acceptAll(next, left);
      await depth(context, topic, "g", 0);
    },
  }),
  defineCase({
    id: "AK-08",
    title: "What a consumer held unsettled goes back when it closes",
    rule: "Delivered and unsettled messages belong to the group again after close.",
    required: true,
    profile: "smoke",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      await publishAll(context, bus, topic, makeItems(context.run, 20, { keys: 4 }));
      const pull = await openPull(context, bus, topic, "g");
      for (let count = 0; count < 5; count++) {
        await within(context.limits().idleMs, `delivery ${count + 1}`, pull.next(), () => context.journal.tail());
      }
      await within(10_000, "close with five unsettled", pull.close());
      await depth(context, topic.name, "g", 20);
      const next = await context.connect();
      await subscribe(context, next, topic, { group: "g" });
      await effects(context, topic, "g", 20);
      await next.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "AK-15",
    title: "A message given back is available at once",
    rule: "A voluntary release makes the message available immediately; whether it is counted is declared.",
    required: false,
    profile: "standard",
    needs: needs.release,
    async run(context) {
      const { release, deliveries } = context.facts.capabilities;
      const { connection, topic } = await prepare(context, ["A"]);
      const receiver = await receiverOf(context, connection, topic, "g");
      const [first] = await take(receiver, 1, context.limits().idleMs);
      assert.ok(first);
      await receiver.settle([{ delivery: first, accept: false, release: "returned" }]);
      const [again] = await take(receiver, 1, context.limits().idleMs);
      assert.ok(again, "the released message came back");
      if (release !== "absent" && deliveries !== "absent") {
        assert.equal(again.deliveries, release.counted ? 2 : 1, "deliveries after a voluntary release");
      }
      await acceptAll(receiver, [again]);
    },
    async inverse(context) {
      const { connection, topic } = await prepare(context, ["A"]);
      const receiver = await receiverOf(context, connection, topic, "g");
      const [first] = await take(receiver, 1, context.limits().idleMs);
      assert.ok(first);
      await receiver.stop(AbortSignal.timeout(5_000));
      await receiver.close(AbortSignal.timeout(5_000));
      const next = await receiverOf(context, connection, topic, "g");
      const again = await take(next, 1, context.limits().idleMs);
      assert.deepEqual(again.map(textOf), ["A"], "without releases an unsettled message comes back after close");
      await acceptAll(next, again);
    },
  }),
];
