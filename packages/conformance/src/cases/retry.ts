import assert from "node:assert/strict";
import { PermanentError } from "@sluice/core";
import { type Case, defineCase } from "../case.ts";
import { monotonicMs, within } from "../clock.ts";
import { conserve, depth, effects, movedRetry, publishAll, publishOne, quickRetry, subscribe } from "../flow.ts";
import { idOf, makeItems } from "../payload.ts";
import { needs, refuses } from "./needs.ts";
import { headerOf, untilDead } from "../dead-letters.ts";

/** The clock of a broker may be read in whole steps, and a timer may ring a moment early. */
const earlyMs = 25;

export const retry: readonly Case[] = [
  defineCase({
    id: "RD-01",
    title: "After its attempts a failing message is a dead letter, and nowhere else",
    rule: "Exactly as many runs as allowed, then the dead letters, and nothing left on the source.",
    required: false,
    profile: "smoke",
    needs: needs.deadLetter,
    async run(context) {
      const bus = await context.connect();
      for (const [attempts, inPlace] of [
        [1, 2_000],
        [3, 2_000],
        [3, 0],
      ] as const) {
        const topic = context.topic();
        const options = { group: "g", retry: { ...quickRetry, attempts, inPlace } };
        await subscribe(context, bus, topic, options, (item) => {
          if (item.n === 1) throw new Error("always fails");
        });
        await publishAll(context, bus, topic, makeItems(context.run, 4, { keys: 2 }));
        await effects(context, topic, "g", 2);
        const dead = await untilDead(context, topic.name, "g", 2);
        for (const record of dead) {
          assert.equal(headerOf(record.headers, "dlq-reason"), "exhausted");
          assert.equal(headerOf(record.headers, "dlq-attempts"), String(attempts));
        }
        const result = await conserve(context, topic, "g");
        assert.equal(result.deadLettered, 2);
        const runs = context.journal.total("handler-start", topic.name, "g");
        assert.equal(runs, 2 + 2 * attempts, `runs of the handler with ${attempts} attempts`);
      }
    },
  }),
  defineCase({
    id: "RD-02",
    title: "A rejected message goes to the dead letters at once, with its reason",
    rule: "deadLetter(reason) and a permanent error run once and keep the reason.",
    required: false,
    profile: "smoke",
    needs: needs.deadLetter,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "g" }, (item, handling) => {
        if (item.n === 1) return handling.deadLetter("the address does not exist");
        throw new PermanentError("the card is blocked");
      });
      await publishAll(context, bus, topic, makeItems(context.run, 2));
      const dead = await untilDead(context, topic.name, "g", 2);
      const reasons = new Set(dead.map((record) => headerOf(record.headers, "dlq-reason")));
      assert.deepEqual(reasons, new Set(["permanent", "rejected"]));
      const texts = dead.map((record) => headerOf(record.headers, "dlq-error-message") ?? "").join(" ");
      assert.match(texts, /the address does not exist/);
      assert.match(texts, /the card is blocked/);
      assert.equal(context.journal.total("handler-start", topic.name, "g"), 2, "each ran once");
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "RD-03",
    title: "A dead letter is the original, plus why",
    rule: "Body, key, headers and id are unchanged; reason, error, attempts, time, origin and group are added.",
    required: false,
    profile: "standard",
    needs: needs.deadLetter,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const options = { group: "g", retry: { ...quickRetry, attempts: 2 } };
      await subscribe(context, bus, topic, options, () => {
        throw new TypeError("cannot read the price");
      });
      const [item] = makeItems(context.run, 1);
      assert.ok(item);
      await publishOne(context.ledger, context.run, bus, topic, item, { headers: { "x-kept": "Grüße" } });
      const [dead] = await untilDead(context, topic.name, "g", 1);
      assert.ok(dead);
      assert.deepEqual(JSON.parse(Buffer.from(dead.body ?? []).toString()), item);
      if (dead.key !== undefined) assert.equal(dead.key === null ? null : Buffer.from(dead.key).toString(), item.key);
      const header = (name: string) => headerOf(dead.headers, name);
      assert.equal(header("x-kept"), "Grüße");
      assert.equal(header("dlq-reason"), "exhausted");
      assert.equal(header("dlq-error-type"), "TypeError");
      assert.equal(header("dlq-error-message"), "cannot read the price");
      assert.equal(header("dlq-attempts"), "2");
      assert.equal(header("dlq-consumer-group"), "g");
      assert.equal(header("dlq-original-destination"), topic.name);
      for (const name of ["dlq-failed-at", "dlq-first-failed-at"]) {
        assert.ok(Math.abs(Date.parse(header(name) ?? "") - Date.now()) < 60_000, `${name} is ${header(name)}`);
      }
      await depth(context, topic.name, "g", 0);
    },
  }),
  defineCase({
    id: "RD-05",
    title: "A delayed retry is not seen before its time",
    rule: "retry with a delay: nothing before the delay, attempt 2 after it.",
    required: false,
    profile: "standard",
    needs: needs.delayGroup,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const delay = Math.max(1_000, context.facts.limits.delayStepMs);
      const runs: { attempt: number; at: number }[] = [];
      const options = { group: "g", retry: movedRetry };
      await subscribe(context, bus, topic, options, (item, handling) => {
        if (item.n === 2) return;
        runs.push({ attempt: handling.message.attempt, at: monotonicMs() });
        if (handling.message.attempt === 1) return handling.retry({ delay });
      });
      await publishAll(context, bus, topic, makeItems(context.run, 2), { concurrency: 1 });
      await effects(context, topic, "g", 2);
      assert.deepEqual(
        runs.map((run) => run.attempt),
        [1, 2],
      );
      const waited = (runs[1]?.at ?? 0) - (runs[0]?.at ?? 0);
      assert.ok(waited >= delay - earlyMs, `came back after ${Math.round(waited)} ms instead of ${delay}`);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "RD-06",
    title: "Dead letters are put back to their group, or discarded",
    rule: "A redriven message comes as attempt 1 to the group that gave it up and to no other; a discarded one is gone.",
    required: false,
    profile: "standard",
    needs: needs.deadLetter,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      let healthy = false;
      const attempts: number[] = [];
      const redrives: number[] = [];
      await subscribe(context, bus, topic, { group: "other" });
      await subscribe(context, bus, topic, { group: "g" }, (_, handling) => {
        if (!healthy) return handling.deadLetter("not yet");
        attempts.push(handling.message.attempt);
        redrives.push(handling.message.redrives);
      });
      await publishAll(context, bus, topic, makeItems(context.run, 10, { keys: 3 }));
      await untilDead(context, topic.name, "g", 10);
      await effects(context, topic, "other", 10);
      healthy = true;
      const deadLetters = bus.deadLetters(topic, { group: "g" });
      const counted = context.facts.capabilities.backlog !== "absent";
      assert.equal(await deadLetters.count(), counted ? 10 : undefined);
      await deadLetters.redrive({ max: 6 });
      await effects(context, topic, "g", 6);
      await deadLetters.discard();
      await untilDead(context, topic.name, "g", 0);
      assert.deepEqual(attempts, [1, 1, 1, 1, 1, 1]);
      assert.deepEqual(redrives, [1, 1, 1, 1, 1, 1]);
      await bus.drain({ deadline: 5_000 });
      await depth(context, topic.name, "g", 0);
      assert.equal(context.journal.total("effect", topic.name, "g"), 6);
      assert.equal(context.journal.total("handler-start", topic.name, "other"), 10, "another group saw the redrive");
    },
  }),
  defineCase({
    id: "RD-07",
    title: "A delayed publish is not seen before its time",
    rule: "Nobody sees a message before its delay has passed; everybody does after.",
    required: false,
    profile: "standard",
    needs: needs.delayTopic,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const delay = Math.max(1_000, context.facts.limits.delayStepMs);
      const arrivals = new Map<number, number>();
      await subscribe(context, bus, topic, { group: "g" }, (item) => void arrivals.set(item.n, monotonicMs()));
      const items = makeItems(context.run, 2);
      const sent = monotonicMs();
      for (const item of items) {
        const options = item.n === 1 ? { delay } : {};
        await publishOne(context.ledger, context.run, bus, topic, item, options);
      }
      await effects(context, topic, "g", 2);
      const waited = (arrivals.get(1) ?? 0) - sent;
      assert.ok(waited >= delay - earlyMs, `came after ${Math.round(waited)} ms instead of ${delay}`);
      assert.ok((arrivals.get(2) ?? Infinity) - sent < waited, "the message without a delay came first");
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
    async inverse(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const [item] = makeItems(context.run, 1);
      assert.ok(item);
      await refuses("UNSUPPORTED", "a delayed publish", () => bus.publish(topic, item, { delay: 1_000 } as object));
    },
  }),
  defineCase({
    id: "RD-08",
    title: "An expired message is not handled, an unexpired one is",
    rule: "After expiresAt a message is given up and counted instead of handled.",
    required: false,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const items = makeItems(context.run, 3);
      for (const item of items) {
        const expiresAt = new Date(Date.now() + (item.n === 2 ? -1_000 : 600_000));
        await publishOne(context.ledger, context.run, bus, topic, item, item.n === 3 ? {} : { expiresAt });
      }
      await subscribe(context, bus, topic, { group: "g" });
      await effects(context, topic, "g", 2);
      await depth(context, topic.name, "g", 0);
      await bus.drain({ deadline: 5_000 });
      const handled = [...context.journal.ids("effect", topic.name, "g").keys()];
      assert.ok(!handled.includes(items[1] ? idOf(items[1]) : ""), "the expired message was handled");
    },
  }),
  defineCase({
    id: "RD-10",
    title: "Without dead letters an exhausted message is dropped, stated and counted",
    rule: "deadLetter: false drops after the last attempt, and the next message flows.",
    required: false,
    profile: "standard",
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      const options = { group: "g", deadLetter: false, retry: { ...quickRetry, attempts: 2 } };
      await subscribe(context, bus, topic, options, (item) => {
        if (item.n === 1) throw new Error("always fails");
      });
      await publishAll(context, bus, topic, makeItems(context.run, 4), { concurrency: 1 });
      await effects(context, topic, "g", 3);
      await depth(context, topic.name, "g", 0); // Before the drain, which would give back what still waits for its last attempt.
      await bus.drain({ deadline: 5_000 });
      assert.equal(context.journal.total("handler-start", topic.name, "g"), 5);
    },
  }),
  defineCase({
    id: "RD-11",
    title: "Higher priority first",
    rule: "Of what waits, higher priorities are handled first.",
    required: false,
    profile: "standard",
    needs: needs.priority,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"], key: () => null });
      const items = makeItems(context.run, 10);
      const priorityOf = (n: number) => (n % 2 === 0 ? 9 : 0);
      for (const item of items) {
        await publishOne(context.ledger, context.run, bus, topic, item, { priority: priorityOf(item.n) });
      }
      const order: number[] = [];
      const options = { group: "g", concurrency: 1, window: 1 };
      await subscribe(context, bus, topic, options, (item) => void order.push(priorityOf(item.n)));
      await within(context.limits(10).totalMs, "ten messages", effects(context, topic, "g", 10));
      await bus.drain({ deadline: 5_000 });
      assert.deepEqual(
        order,
        order.toSorted((one, two) => two - one),
        "a low priority before a high one",
      );
    },
    async inverse(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const [item] = makeItems(context.run, 1);
      assert.ok(item);
      await refuses("UNSUPPORTED", "a priority", () => bus.publish(topic, item, { priority: 5 } as object));
    },
  }),
];
