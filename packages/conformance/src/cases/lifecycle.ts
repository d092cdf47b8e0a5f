import assert from "node:assert/strict";
import { type Case, defineCase } from "../case.ts";
import { pause, within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { conserve, depth, effects, publishAll, publishOne, readable, stated, subscribe } from "../flow.ts";
import { makeItems } from "../payload.ts";
import { openPull, pullSome } from "../pull.ts";
import { refuses } from "./needs.ts";

export const lifecycle: readonly Case[] = [
  defineCase({
    id: "LC-01",
    title: "Open without traffic, and close",
    rule: "Connecting, subscribing and closing neither fail nor hang when no message ever comes.",
    required: true,
    profile: "smoke",
    groupless: true,
    async run(context) {
      const limit = 5_000 + context.harness.timing.recoveryMs;
      const bus = await within(limit, "connect", context.connect());
      const topic = context.topic({ groups: ["idle"] });
      const producer = bus.producer(topic);
      assert.equal(typeof producer.send, "function");
      const subscription = await within(limit, "subscribe", subscribe(context, bus, topic, { group: "g" }));
      if (bus.capabilities.group !== "absent") {
        const consumer = await within(limit, "consumer", bus.consumer(topic, { group: "h" }));
        await within(limit, "close of the consumer", consumer.close());
      }
      await within(limit, "close of the subscription", subscription.close());
      assert.equal(await within(limit, "subscription.closed", subscription.closed), undefined);
      await within(limit, "close of the bus", bus.close());
    },
  }),
  defineCase({
    id: "LC-03",
    title: "A closed stream ends",
    rule: "After close the iterator ends and the handler is not called again; nothing blocks.",
    required: true,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const pull = await openPull(context, bus, topic, "g");
      const reading = pull.next();
      await within(5_000 + context.limits().idleMs, "close of the consumer", pull.close());
      assert.equal(await within(context.limits().idleMs, "next() after close ends the stream", reading), undefined);
      assert.equal(await within(context.limits().idleMs, "a second next() ends too", pull.next()), undefined);
      const subscription = await subscribe(context, bus, topic, { group: "g" });
      await subscription.close();
      await publishAll(context, bus, topic, makeItems(context.run, 5));
      await subscribe(context, bus, topic, { group: "g" }); // The sentinel: what it handles the closed one did not.
      await effects(context, topic, "g", 5);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "LC-04",
    title: "A cancelled consumer ends, another gets the rest",
    rule: "A consumer ended through its signal ends its stream; the group's backlog stays for the next one.",
    required: true,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      await publishAll(context, bus, topic, makeItems(context.run, 20));
      const cancel = new AbortController();
      const pull = await openPull(context, bus, topic, "g", { signal: cancel.signal });
      await pullSome(context, pull, 5);
      cancel.abort();
      await within(15_000, "the cancelled stream ends", pull.untilEnd());
      await pull.close();
      await subscribe(context, bus, topic, { group: "g" });
      await effects(context, topic, "g", 20);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "LC-05",
    title: "Ten subscribers open and close at once",
    rule: "Opening and closing concurrently loses nothing of what comes after.",
    required: true,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const open = async () => {
        const subscription = await subscribe(context, bus, topic, { group: "g" });
        await subscription.close();
      };
      await Promise.all(Array.from({ length: 10 }, open));
      await publishAll(context, bus, topic, makeItems(context.run, 50));
      await subscribe(context, bus, topic, { group: "g" });
      await effects(context, topic, "g", 50);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "LC-06",
    title: "Closing flushes what was published",
    rule: "Every publish that was called before close settles, and what it confirmed is stored.",
    required: true,
    profile: "smoke",
    groupless: true,
    async run(context) {
      const publisher = await context.connect();
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      await subscribe(context, bus, topic, { group: "g" });
      const items = makeItems(context.run, context.size(20, 200), { keys: 5 });
      const publishing = publishAll(context, publisher, topic, items, { concurrency: items.length });
      await pause(0);
      await within(20_000, "drain of the publishing bus", publisher.drain({ deadline: 15_000 }));
      await within(1_000, "every publish settled before drain resolved", publishing);
      const confirmed = context.journal.total("publish-ok", topic.name);
      assert.equal(
        confirmed,
        items.length,
        `${confirmed} of ${items.length} were confirmed\n${context.journal.tail(5)}`,
      );
      await effects(context, topic, "g", items.length);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "LC-07",
    title: "Publishing on a closed bus is refused; closing twice is one close",
    rule: "A closed bus refuses every call with CLOSED; a second close resolves like the first.",
    required: true,
    profile: "smoke",
    groupless: true,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const [item] = makeItems(context.run, 1);
      assert.ok(item);
      await publishOne(context.ledger, context.run, bus, topic, item);
      await within(
        5_000 + context.harness.timing.recoveryMs,
        "two closes at once",
        Promise.all([bus.close(), bus.close()]),
      );
      await within(1_000, "a third close", bus.close());
      await refuses("CLOSED", "publish after close", () => bus.publish(topic, item, stated(bus)));
      await refuses("CLOSED", "subscribe after close", () =>
        bus.subscribe(topic, readable(bus, { group: "g" }), () => {}),
      );
      const { connection } = await context.connection();
      await connection.close(AbortSignal.timeout(5_000));
      await within(5_000, "a second close of the connection", connection.close(AbortSignal.timeout(5_000)));
      assert.equal(await within(1_000, "connection.closed", connection.closed), undefined);
    },
  }),
  defineCase({
    id: "LC-09",
    title: "A backlog is read in parts by consumers that come and go",
    rule: "What a consumer settled is done; what it did not is there for the next one: the union is everything, once.",
    required: true,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const count = context.size(20, 50);
      await publishAll(context, bus, topic, makeItems(context.run, count, { keys: 4 }));
      for (let round = 0; round < 5; round++) {
        const pull = await openPull(context, bus, topic, "g");
        const problem = await pullSome(context, pull, count / 5).catch((error: unknown) => error);
        const dead = await context.raw.deadLetters(topic.name, "g");
        assert.equal(
          dead.length,
          0,
          `in round ${round + 1} ${dead.length} messages that only went back are dead letters`,
        );
        if (problem !== undefined) throw problem;
        await pull.close();
      }
      const handled = context.journal.ids("effect", topic.name, "g").size;
      assert.equal(handled, count, `${handled} of ${count} were handled\n${context.journal.tail()}`);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "LC-11",
    title: "Drain waits for the running handler",
    rule: "Drain lets running handlers finish and settles them once.",
    required: true,
    profile: "smoke",
    groupless: true,
    run: (context) => drainWhileRunning(context),
  }),
  defineCase({
    id: "LC-12",
    title: "A drain whose deadline passes cancels the handler and settles nothing",
    rule: "At the deadline the signal aborts, the message is not settled, and the next consumer gets it.",
    required: true,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const started = Promise.withResolvers<void>();
      const aborted = Promise.withResolvers<unknown>();
      const release = Promise.withResolvers<void>();
      await subscribe(context, bus, topic, { group: "g" }, (_, handling) => {
        handling.signal.addEventListener("abort", () => aborted.resolve(handling.signal.reason), { once: true });
        started.resolve();
        return release.promise.then(() => handling.drop("ended after its signal"));
      });
      await publishAll(context, bus, topic, makeItems(context.run, 1));
      await within(context.limits().idleMs, "the handler starts", started.promise);
      await within(10_000, "drain with a deadline of 200 ms", bus.drain({ deadline: 200 }));
      const reason = await within(1_000, "the handler's signal aborts", aborted.promise);
      assert.equal((reason as { readonly code?: string }).code, "CLOSED", String(reason));
      const next = await context.connect();
      await subscribe(context, next, topic, { group: "g" });
      await effects(context, topic, "g", 1);
      release.resolve();
      await next.drain({ deadline: 5_000 });
      await depth(context, topic.name, "g", 0);
      assert.equal(context.journal.total("effect", topic.name, "g"), 1);
    },
  }),
];

async function drainWhileRunning(context: CaseContext): Promise<void> {
  const bus = await context.connect();
  const topic = context.topic({ groups: ["g"] });
  const started = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const subscription = await subscribe(context, bus, topic, { group: "g" }, () => {
    started.resolve();
    return release.promise;
  });
  await publishAll(context, bus, topic, makeItems(context.run, 1));
  await within(context.limits().idleMs, "the handler starts", started.promise);
  let drained = false;
  const draining = subscription.drain().then(() => (drained = true));
  await pause(100);
  assert.equal(drained, false, "drain resolved while the handler was running");
  assert.equal(context.journal.total("effect", topic.name, "g"), 0);
  release.resolve();
  await within(10_000, "drain after the handler ended", draining);
  await conserve(context, topic, "g");
}
