import assert from "node:assert/strict";
import { type Case, defineCase } from "../case.ts";
import { monotonicMs, pause, within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { type Behaviour, conserve, depth, effects, movedRetry, publishAll, subscribe } from "../flow.ts";
import { idOf, makeItems } from "../payload.ts";
import { refuses } from "./needs.ts";

export const hygiene: readonly Case[] = [
  defineCase({
    id: "OB-03",
    title: "A run without faults logs nothing above info",
    rule: "Warnings and errors mean something: without a fault there are none.",
    required: true,
    profile: "smoke",
    groupless: true,
    async run(context) {
      const loud: string[] = [];
      const note = (fields: object, message: string) => void loud.push(`${message} ${JSON.stringify(fields)}`);
      const logger = { debug: () => {}, info: () => {}, warn: note, error: note };
      const bus = await context.connect({ logger });
      const topic = context.topic();
      await subscribe(context, bus, topic, { group: "g" });
      await publishAll(context, bus, topic, makeItems(context.run, 50, { keys: 5 }));
      await effects(context, topic, "g", 50);
      await bus.drain({ deadline: 5_000 });
      await bus.close();
      await conserve(context, topic, "g");
      assert.deepEqual(loud, []);
    },
  }),
  defineCase({
    id: "G-09",
    title: "Drain finishes what runs, starts nothing, and gives the rest back",
    rule: "No new start, every started handler has its effect and its settlement, unstarted messages are back at once.",
    required: true,
    profile: "smoke",
    async run(context) {
      const topic = context.topic({ groups: ["g"] });
      const publisher = await context.connect();
      const items = makeItems(context.run, context.size(60, 200), { keys: 20 });
      await publishAll(context, publisher, topic, items);
      const bus = await context.connect();
      const started = Promise.withResolvers<void>();
      const options = { group: "g", concurrency: 10, window: 50 };
      await subscribe(context, bus, topic, options, async () => {
        if (context.journal.total("handler-start", topic.name, "g") >= 30) started.resolve();
        await pause(40);
      });
      await within(context.limits().totalMs, "thirty starts", started.promise);
      const late = makeItems(context.run, 40, { producer: "late" });
      const publishing = publishAll(context, publisher, topic, late, { concurrency: 40 });
      const called = monotonicMs();
      await within(
        6_500,
        "drain with a deadline of 5 s",
        Promise.all([bus.drain({ deadline: 5_000 }), publisher.drain({ deadline: 5_000 })]),
      );
      await within(1_000, "every publish settled", publishing);
      const starts = context.journal.events.filter((event) => event.event === "handler-start");
      const after = starts.filter((event) => event.at > called + 50);
      assert.equal(after.length, 0, `${after.length} handlers started after drain was called`);
      assert.equal(context.journal.total("effect", topic.name, "g"), starts.length, "a started handler has no effect");
      const confirmed = context.journal.ids("publish-ok", topic.name).size;
      await depth(context, topic.name, "g", confirmed - starts.length);
      const next = await context.connect();
      await subscribe(context, next, topic, { group: "g" }, (_, { message }) => {
        assert.equal(message.attempt, 1, "a message that never ran lost an attempt");
      });
      await effects(context, topic, "g", confirmed);
      await next.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "G-10",
    title: "Duplicates without a fault: none",
    rule: "The baseline of the duplicate budget is zero.",
    required: true,
    profile: "standard",
    async run(context) {
      const topic = context.topic({ groups: ["g"] });
      const buses = await Promise.all([context.connect(), context.connect()]);
      for (const bus of buses) await subscribe(context, bus, topic, { group: "g", window: 50 });
      const items = makeItems(context.run, context.size(100, 2_000), { keys: 50, padding: 100 });
      const [bus] = buses;
      assert.ok(bus);
      await publishAll(context, bus, topic, items, { concurrency: 200 });
      await effects(context, topic, "g", items.length);
      await Promise.all(buses.map((each) => each.drain({ deadline: 5_000 })));
      await conserve(context, topic, "g", { duplicates: 0 });
    },
  }),
  defineCase({
    id: "G-21",
    title: "A process that closed its bus ends by itself",
    rule: "After close nothing keeps the process alive, and nothing was left unhandled or warned about.",
    required: true,
    profile: "standard",
    groupless: true,
    uses: ["processes"],
    async run(context) {
      const steps = ["connect", "publish", "consume", "unawaited"];
      await Promise.all(
        steps.map(async (step) => {
          const child = context.supervisor.start("hygiene", step, { step, topic: context.name() });
          const own = () => context.journal.events.filter((event) => event.process === step);
          const limits = { idleMs: 30_000, totalMs: 30_000 + context.harness.timing.recoveryMs };
          const over = () => own().some((event) => event.event === "closed" || event.event === "problem");
          await context.journal.until(`process "${step}" closes`, limits, over, child.output);
          const exit = await within(
            15_000,
            `process "${step}" ends by itself`,
            child.exited,
            () => `${context.journal.tail()}\n${child.output()}`,
          );
          context.journal.catchUp();
          const events = own();
          const problems = events.filter((event) => event.event === "problem").map((event) => event.detail);
          assert.deepEqual(problems, [], `process "${step}"`);
          const closed = events.find((event) => event.event === "closed");
          assert.ok(closed, `process "${step}" did not get to its end: ${child.output()}`);
          assert.equal(exit.code, 0, `process "${step}" exit ${exit.code} ${exit.signal}: ${child.output()}`);
          assert.equal(closed.detail, "", `process "${step}" still holds ${closed.detail}`);
        }),
      );
    },
  }),
  defineCase({
    id: "G-22",
    title: "Close in any state resolves, and is final",
    rule: "Closing while connecting, subscribing, publishing or inside a handler resolves in time; the names work at once again.",
    required: true,
    profile: "standard",
    async run(context) {
      const limit = 8_000;
      for (let round = 0; round < context.size(2, 8); round++) {
        const topic = context.topic({ groups: ["g"] });
        const bus = await context.connect();
        const items = makeItems(context.run, 20, { producer: `r${round}` });
        const work = [
          subscribe(context, bus, topic, { group: "g" }).catch(() => undefined),
          publishAll(context, bus, topic, items),
        ];
        await pause(context.random() * 40);
        await within(limit, `close in round ${round}`, bus.close());
        await within(limit, `every call settles in round ${round}`, Promise.all(work));
        const before = context.journal.total("handler-start", topic.name, "g");
        const next = await context.connect();
        await publishAll(context, next, topic, makeItems(context.run, 1, { producer: `s${round}` }));
        await subscribe(context, next, topic, { group: "g" });
        const wanted = context.journal.ids("publish-ok", topic.name).size;
        await effects(context, topic, "g", wanted);
        assert.ok(context.journal.total("handler-start", topic.name, "g") >= before);
        await within(limit, "close of the second bus", next.close());
      }
      const topic = context.topic({ groups: ["g"] });
      const bus = await context.connect();
      const closing = Promise.withResolvers<void>();
      await subscribe(context, bus, topic, { group: "g" }, () => closing.resolve(bus.close()));
      await publishAll(context, bus, topic, makeItems(context.run, 1));
      await within(limit, "close inside a handler", closing.promise);
      await refuses("CLOSED", "publish after that", () =>
        bus.publish(topic, makeItems(context.run, 1)[0] ?? assert.fail()),
      );
    },
  }),
  defineCase({
    id: "G-23",
    title: "Whatever a handler throws or returns has its documented fate",
    rule: "Every shape of failure ends in a retry or a dead letter, and the next messages flow.",
    required: true,
    profile: "standard",
    groupless: true,
    run: (context) => handlerShapes(context),
  }),
];

async function handlerShapes(context: CaseContext): Promise<void> {
  const bus = await context.connect();
  const broken = Object.defineProperty(new Error("x"), "message", {
    get() {
      throw new Error("even the message throws");
    },
  });
  const shapes: Record<string, Behaviour> = {
    error: () => Promise.reject(new Error("rejects")),
    sync: () => {
      throw new Error("throws synchronously");
    },
    text: () => Promise.reject("a text"),
    nothing: () => Promise.reject(undefined),
    frozen: () => Promise.reject(Object.freeze({ code: 1 })),
    broken: () => Promise.reject(broken),
    never: () => new Promise<void>(() => {}),
    unused: (_, handling) => void handling.retry(),
    foreign: () => ({ kind: "retry" }) as never,
  };
  for (const [name, shape] of Object.entries(shapes)) {
    const topic = context.topic();
    const options = { group: "g", timeout: 300, retry: { ...movedRetry, attempts: 3 } };
    const [first] = makeItems(context.run, 1);
    assert.ok(first);
    await subscribe(context, bus, topic, options, (item, handling) => {
      if (idOf(item) === idOf(first) && handling.message.attempt === 1) return shape(item, handling);
    });
    await publishAll(context, bus, topic, [first]);
    const seen = () => context.journal.total("handler-start", topic.name, "g");
    await context.journal.until(`shape "${name}" starts`, context.limits(), () => seen() > 0);
    await publishAll(context, bus, topic, makeItems(context.run, 10, { after: 1 }));
    // What a foreign value means is not promised, and a broadcast cannot move on what a stuck run still has; that others flow is.
    const stays = name === "foreign" || (name === "never" && bus.capabilities.group === "absent");
    const wanted = stays ? 10 : 11;
    const flowing = () => [...context.journal.ids("effect", topic.name, "g").keys()].length;
    await context.journal.until(
      `messages flow after shape "${name}"`,
      context.limits(),
      () => flowing() >= wanted,
      () => `handled ${flowing()}`,
    );
  }
  await bus.drain({ deadline: 2_000 });
}
