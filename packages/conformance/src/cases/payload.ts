import assert from "node:assert/strict";
import { text, topic as declareTopic } from "@sluice/core";
import { collector, headerCells } from "../bodies.ts";
import { type Case, defineCase } from "../case.ts";
import { headerOf, untilDead } from "../dead-letters.ts";
import type { RawShape } from "../harness.ts";
import { conserve, effects, movedRetry, publishAll, publishOne, stated, subscribe } from "../flow.ts";
import { makeItems } from "../payload.ts";
import { needs, refuses } from "./needs.ts";

/** Header values that other systems have mangled. */
const weird: readonly (readonly [name: string, value: string])[] = [
  ["x-slash", "a/b//c/../d\\e\\\\f"],
  ["x-quote", `"double" 'single' \`back\``],
  ["x-space", "a b  c"],
  ["x-digits", "0123456789"],
  ["x-latin", "Grüße, naïve façade"],
  ["x-greek", "αβγδε"],
  ["x-cjk", "日本語 한국어"],
  ["x-emoji", "👩‍👩‍👧‍👦 🦊"],
  ["x-ascii", Array.from({ length: 95 }, (_, code) => String.fromCharCode(32 + code)).join("")],
];

export const payload: readonly Case[] = [
  defineCase({
    id: "PL-01",
    title: "Header values arrive as they are",
    rule: "Every text that is legal in a header arrives byte for byte.",
    required: true,
    profile: "smoke",
    groupless: true,
    needs: needs.headers,
    async run(context) {
      const { refused } = await headerCells(context, weird);
      assert.deepEqual(refused, [], "refused although harmless");
    },
    async inverse(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const [item] = makeItems(context.run, 1);
      assert.ok(item);
      await refuses("UNSUPPORTED", "a header", () => bus.publish(topic, item, { ...stated(bus), headers: { a: "b" } }));
    },
  }),
  defineCase({
    id: "PL-02",
    title: "A header that is not text is refused at the call",
    rule: "A lone surrogate, in a name or a value, is INVALID_MESSAGE naming the header; the next publish works.",
    required: true,
    profile: "standard",
    groupless: true,
    needs: needs.headers,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "g" });
      const [first, second] = makeItems(context.run, 2);
      assert.ok(first && second);
      const value = () => bus.publish(topic, first, { ...stated(bus), headers: { "x-broken": "a\ud800b" } });
      await refuses("INVALID_MESSAGE", "a lone surrogate in a value", value, { names: "x-broken" });
      const name = () => bus.publish(topic, first, { ...stated(bus), headers: { "x-\udfff": "a" } });
      await refuses("INVALID_MESSAGE", "a lone surrogate in a name", name);
      const reserved = () => bus.publish(topic, first, { ...stated(bus), headers: { "sluice-attempts": "9" } });
      await refuses("INVALID_MESSAGE", "a reserved name", reserved, { names: "sluice-attempts" });
      await publishOne(context.ledger, context.run, bus, topic, second);
      await effects(context, topic, "g", 1);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "PL-03",
    title: "A body of any bytes arrives byte for byte",
    rule: "Bodies are bytes: what is not UTF-8 is not touched.",
    required: true,
    profile: "smoke",
    groupless: true,
    async run(context) {
      const { bus, seen, arrived, publish } = await collector(context);
      const bodies = [
        Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0x80]),
        Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
        Buffer.from("PK\u0003\u0004 not a text", "latin1"),
      ];
      for (const [index, body] of bodies.entries()) {
        await publish(body, { id: `${context.run}-${index}` });
      }
      for (const [index, body] of bodies.entries()) {
        await arrived(`${context.run}-${index}`);
        assert.deepEqual(Buffer.from(seen.get(`${context.run}-${index}`)?.body ?? []), body);
      }
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "PL-06",
    title: "Ids are kept, or made",
    rule: "A given id reaches the handler and the receipt; without one every message gets its own.",
    required: true,
    profile: "smoke",
    groupless: true,
    async run(context) {
      const { bus, seen, arrived, publish } = await collector(context);
      const given = await publish(Buffer.from("a"), { id: "order/42:a%b" });
      assert.equal(given.id, "order/42:a%b");
      await arrived("order/42:a%b");
      const made = await Promise.all(Array.from({ length: 20 }, () => publish(Buffer.from("b"))));
      assert.equal(new Set(made.map((receipt) => receipt.id)).size, 20, "made ids repeat");
      for (const { id } of made) await arrived(id);
      assert.equal(seen.size, 21);
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "PL-07",
    title: "What cannot be decoded goes to the dead letters, and the next message flows",
    rule: "Poison bytes of a foreign producer never reach the handler and never stop the consumer.",
    required: true,
    profile: "smoke",
    uses: ["raw"],
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "g" });
      // What no program can write on this wire cannot poison it either.
      const lacks = (shape: RawShape) => context.raw.lacks?.includes(shape) === true;
      const poison = [
        { body: Buffer.from("{ not json") },
        ...(lacks("binary-body") ? [] : [{ body: Buffer.from([0xff, 0xfe, 0x00, 0x80]) }]),
        ...(lacks("empty-body") ? [] : [{ body: Buffer.alloc(0) }]),
        ...(lacks("binary-headers")
          ? []
          : [{ body: Buffer.from("broken"), headers: { "x-binary": Buffer.from([0xff, 0xfe, 0xfd]) } }]),
      ];
      await context.raw.produce(topic.name, poison);
      await publishAll(context, bus, topic, makeItems(context.run, 10, { keys: 10 }));
      await effects(context, topic, "g", 10);
      const dead = await untilDead(context, topic.name, "g", poison.length);
      for (const record of dead) assert.equal(headerOf(record.headers, "dlq-reason"), "invalid");
      const bodies = dead.map((record) => Buffer.from(record.body ?? []).toString("hex")).sort();
      assert.deepEqual(bodies, poison.map(({ body }) => body.toString("hex")).sort(), "the original bytes are kept");
      assert.equal(context.journal.total("handler-start", topic.name, "g"), 10, "the handler saw a poison message");
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "PL-10",
    title: "Another codec, or a payload that fails its schema",
    rule: "A message of a content type that the codec does not read is a dead letter that names both; a payload that fails its schema is refused at the call; the next message flows.",
    required: false,
    profile: "standard",
    needs: needs.deadLetter,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "g" });
      const stranger = await context.connect();
      const asText = declareTopic<string>(topic.name, { codec: text(), ordering: "none", shards: topic.shards });
      await stranger.publish(asText, "no JSON at all");
      const [dead] = await untilDead(context, topic.name, "g", 1);
      assert.equal(headerOf(dead?.headers, "dlq-reason"), "invalid");
      const why = headerOf(dead?.headers, "dlq-error-message") ?? "";
      for (const type of ["text/plain", "application/json"]) assert.ok(why.includes(type), `"${why}" names no ${type}`);
      const schema = {
        "~standard": { version: 1, vendor: "conformance", validate: () => ({ issues: [{ message: "never" }] }) },
      } as const;
      const strict = declareTopic<object, object>(context.name(), { schema, groups: ["g"] });
      const error = await refuses("INVALID_PAYLOAD", "a payload that fails its schema", () => bus.publish(strict, {}));
      assert.equal(error.outcome, "not-stored");
      await publishAll(context, bus, topic, makeItems(context.run, 1));
      await effects(context, topic, "g", 1);
      assert.equal(context.journal.total("handler-start", topic.name, "g"), 1, "the handler saw what it cannot read");
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "PL-08",
    title: "What a failing handler changed is not visible in its next attempt",
    rule: "Every attempt sees the message as it was published.",
    required: false,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const seen: { attempt: number; header: string | undefined; padding: string }[] = [];
      const retry = { ...movedRetry, attempts: 4 };
      await subscribe(context, bus, topic, { group: "g", retry }, (item, { message }) => {
        seen.push({ attempt: message.attempt, header: message.headers["x-mark"], padding: item.padding });
        try {
          Object.assign(message.headers, { "x-mark": "changed", "x-new": "added" });
          Object.assign(item, { padding: "changed" });
        } catch {
          // Frozen: then nothing can be visible later.
        }
        if (message.attempt < 3) throw new Error("fails after changing its message");
        Object.assign(item, { padding: seen[0]?.padding });
      });
      const [item] = makeItems(context.run, 1);
      assert.ok(item);
      await publishOne(context.ledger, context.run, bus, topic, item, { headers: { "x-mark": "original" } });
      await effects(context, topic, "g", 1);
      await bus.drain({ deadline: 5_000 });
      assert.deepEqual(
        seen,
        [1, 2, 3].map((attempt) => ({ attempt, header: "original", padding: item.padding })),
      );
    },
  }),
  defineCase({
    id: "PL-09",
    title: "The attempt number starts at 1 and counts every run",
    rule: "attempt is exact in place and over the group's own entry.",
    required: true,
    profile: "smoke",
    async run(context) {
      const bus = await context.connect();
      for (const inPlace of [0, 2_000]) {
        const topic = context.topic();
        const attempts: number[] = [];
        const retry = { attempts: 10, firstDelay: 5, factor: 1, maxDelay: 5, inPlace };
        await subscribe(context, bus, topic, { group: "g", retry }, (_, handling) => {
          attempts.push(handling.message.attempt);
          if (handling.message.attempt === 2) return handling.retry();
          if (handling.message.attempt < 4) throw new Error("fails three times");
        });
        await publishAll(context, bus, topic, makeItems(context.run, 1));
        await effects(context, topic, "g", 1);
        assert.deepEqual(attempts, [1, 2, 3, 4], `attempts ${attempts.join(", ")} with inPlace ${inPlace}`);
        await conserve(context, topic, "g");
      }
    },
  }),
];
