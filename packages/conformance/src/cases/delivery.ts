import assert from "node:assert/strict";
import { topic as declareTopic } from "@sluice/core";
import { type Case, defineCase } from "../case.ts";
import { pause, within } from "../clock.ts";
import { conserve, effects, publishAll, publishOne, readable, stated, subscribe } from "../flow.ts";
import { idOf, type Item, makeItems } from "../payload.ts";
import { openPull } from "../pull.ts";
import { declare, put, receiverOf, record } from "../seam.ts";
import { needs, refuses } from "./needs.ts";

export const delivery: readonly Case[] = [
  defineCase({
    id: "DL-01",
    title: "What is published arrives, whole",
    rule: "Payload, key, headers, id and time arrive as they were published.",
    required: true,
    profile: "smoke",
    groupless: true,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const before = Date.now();
      const seen: { key: unknown; header: string | undefined; time: number }[] = [];
      await subscribe(context, bus, topic, { group: "g" }, (item, { message }) => {
        assert.equal(message.topic, topic.name);
        assert.equal(message.key, item.key);
        seen.push({ key: message.key, header: message.headers["x-number"], time: Number(message.time) });
      });
      const items = makeItems(context.run, context.size(10, 100), { keys: 7 });
      const headers = context.facts.capabilities.headers !== "absent";
      const options = (item: Item) => (headers ? { headers: { "x-number": idOf(item) } } : {});
      await publishAll(context, bus, topic, items, { options });
      await effects(context, topic, "g", items.length);
      if (headers) assert.deepEqual(new Set(seen.map((each) => each.header)), new Set(items.map(idOf)));
      for (const { time } of seen) assert.ok(time >= before - 1000 && time <= Date.now() + 1000, `time is ${time}`);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "DL-02",
    title: "A declared group keeps what is published before anybody reads",
    rule: "Messages for a group that exists wait for its first consumer.",
    required: true,
    profile: "smoke",
    async run(context) {
      const topic = context.topic({ groups: ["g"] });
      const producer = await context.connect();
      const items = makeItems(context.run, 20, { keys: 3 });
      await publishAll(context, producer, topic, items);
      await producer.close();
      const bus = await context.connect();
      await subscribe(context, bus, topic, { group: "g" });
      await effects(context, topic, "g", items.length);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "DL-03",
    title: "An empty topic gives nothing, and no error",
    rule: "Reading where nothing is resolves with nothing, within the time that was given.",
    required: true,
    profile: "standard",
    async run(context) {
      const parts = await context.connection();
      const topic = context.name();
      await declare(parts, topic, ["g"]);
      const receiver = await receiverOf(context, parts.connection, topic, "g");
      const first = await within(
        context.limits().idleMs,
        "an aborted receive",
        receiver.receive(10, AbortSignal.timeout(300)),
      );
      assert.deepEqual(first, []);
      await put(parts.connection, { topic }, ["sentinel"]);
      const second = await within(
        context.limits().idleMs,
        "the sentinel",
        untilSome(() => receiver.receive(10, AbortSignal.timeout(1_000))),
      );
      assert.equal(second, 1, "exactly the sentinel");
      const bus = await context.connect();
      const cancel = new AbortController();
      const pull = await openPull(context, bus, context.topic({ groups: ["g"] }), "g", { signal: cancel.signal });
      const reading = pull.next();
      await pause(200);
      cancel.abort();
      assert.equal(await within(context.limits().idleMs, "the aborted iterator ends", reading), undefined);
    },
  }),
  defineCase({
    id: "DL-04",
    title: "Without a fault every message is handled exactly once",
    rule: "No duplicates where nothing failed.",
    required: true,
    profile: "smoke",
    groupless: true,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "g" });
      const items = makeItems(context.run, context.size(20, 200), { keys: 10 });
      await publishAll(context, bus, topic, items);
      await effects(context, topic, "g", items.length);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g", { duplicates: 0 });
    },
  }),
  defineCase({
    id: "DL-05",
    title: "Many producers and many consumers at once",
    rule: "The union of what all members of a group handle is everything, once.",
    required: true,
    profile: "standard",
    async run(context) {
      const buses = await Promise.all([context.connect(), context.connect()]);
      const topic = context.topic({ groups: ["g"] });
      await Promise.all(buses.flatMap((bus) => [1, 2].map(() => subscribe(context, bus, topic, { group: "g" }))));
      const producers = Array.from({ length: 8 }, (_, index) => `p${index}`);
      const each = context.size(10, 100);
      await Promise.all(
        producers.map((producer, index) => {
          const bus = buses[index % 2];
          assert.ok(bus);
          return publishAll(context, bus, topic, makeItems(context.run, each, { keys: 5, producer }));
        }),
      );
      await effects(context, topic, "g", each * producers.length);
      await Promise.all(buses.map((bus) => bus.drain({ deadline: 5_000 })));
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "DL-06",
    title: "Many topics at once, each with its own messages",
    rule: "A subscription gets the messages of its topic and no others.",
    required: true,
    profile: "standard",
    groupless: true,
    async run(context) {
      const bus = await context.connect();
      const topics = Array.from({ length: context.size(3, 8) }, () => context.topic({ shards: 1 }));
      await Promise.all(topics.map((topic) => subscribe(context, bus, topic, { group: "g" })));
      await Promise.all(
        topics.map((topic, index) =>
          publishAll(context, bus, topic, makeItems(context.run, 25, { producer: `p${index}` })),
        ),
      );
      await Promise.all(topics.map((topic) => effects(context, topic, "g", 25)));
      await bus.drain({ deadline: 10_000 });
      for (const topic of topics) await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "DL-07",
    title: "Two topics do not mix",
    rule: "Each of two alternating topics gives its own messages only.",
    required: true,
    profile: "smoke",
    groupless: true,
    async run(context) {
      const bus = await context.connect();
      const [one, two] = [context.topic(), context.topic()];
      await subscribe(context, bus, one, { group: "g" });
      await subscribe(context, bus, two, { group: "g" });
      const items = makeItems(context.run, 10);
      for (const [index, item] of items.entries()) {
        await publishOne(context.ledger, context.run, bus, index % 2 === 0 ? one : two, item);
      }
      await effects(context, one, "g", 5);
      await effects(context, two, "g", 5);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, one, "g");
      await conserve(context, two, "g");
    },
  }),
  defineCase({
    id: "DL-08",
    title: "One subscription over several topics",
    rule: "A subscription of several topics gets the messages of each.",
    required: false,
    profile: "standard",
    groupless: true,
    async run(context) {
      const bus = await context.connect();
      const [one, two] = [context.topic(), context.topic()];
      const seen: string[] = [];
      const all = Promise.withResolvers<void>();
      await bus.subscribe([one, two], readable(bus, { group: "g" }), (event, { message }) => {
        assert.equal(event.topic, message.topic);
        seen.push(event.topic);
        if (seen.length === 10) all.resolve();
      });
      const items = makeItems(context.run, 5);
      await publishAll(context, bus, one, items);
      await publishAll(context, bus, two, items);
      await within(context.limits(10).totalMs, "ten messages of two topics", all.promise, () => seen.join(" "));
      await bus.drain({ deadline: 5_000 });
      assert.equal(seen.filter((name) => name === one.name).length, 5);
      assert.equal(seen.length, 10);
    },
  }),
  defineCase({
    id: "DL-11",
    title: "A confirmed publish is stored",
    rule: "Publish resolves only when the broker has the message: it survives the publisher's connection.",
    required: false,
    profile: "standard",
    async run(context) {
      const topic = context.topic({ groups: ["g"] });
      const reader = await context.connect();
      await subscribe(context, reader, topic, { group: "g" });
      const { connection } = await context.connection();
      const items = makeItems(context.run, 10);
      const sender = await connection.sender();
      for (const item of items) {
        const fields = { topic: topic.name, id: idOf(item), key: item.key, n: item.n };
        context.ledger.write("publish-intent", fields);
        const outgoing = record(idOf(item), JSON.stringify(item), item.key);
        Object.assign(outgoing.headers, { "conformance-run": context.run, "content-type": "application/json" });
        const [result] = await sender.send(
          [{ to: { topic: topic.name }, record: outgoing }],
          AbortSignal.timeout(10_000),
        );
        assert.equal(result?.outcome, "stored");
        context.ledger.write("publish-ok", fields);
      }
      await connection.close(AbortSignal.abort()); // As abrupt as the contract allows.
      await effects(context, topic, "g", items.length);
      await reader.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "RP-05",
    title: "Sending to nobody is never a success",
    rule: "A message that nobody keeps is reported as unroutable, unless the topic states that this is allowed.",
    required: false,
    profile: "smoke",
    groupless: true,
    needs: needs.unrouted,
    async run(context) {
      const bus = await context.connect();
      const topic = declareTopic(context.name());
      await refuses(
        "UNROUTABLE",
        "publish to a topic without any group",
        () => bus.publish(topic, { n: 1 }, stated(bus)),
        {
          names: topic.name,
        },
      );
      const allowed = declareTopic(context.name(), { unrouted: "allow" });
      const receipt = await bus.publish(allowed, { n: 1 }, stated(bus));
      assert.equal(receipt.routed, false);
    },
    async inverse(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await publishAll(context, bus, topic, makeItems(context.run, 5));
      await subscribe(context, bus, topic, { group: "late", start: "earliest" });
      await effects(context, topic, "late", 5); // Retained: kept although no group existed.
    },
  }),
];

async function untilSome(receive: () => Promise<readonly unknown[] | undefined>): Promise<number> {
  for (;;) {
    const got = await receive();
    if (got === undefined || got.length > 0) return got?.length ?? 0;
  }
}
