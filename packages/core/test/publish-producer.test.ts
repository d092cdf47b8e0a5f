import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { SluiceError } from "../src/errors.ts";
import { events } from "../src/events.ts";
import type { Draft, PublishMiddleware } from "../src/middleware.ts";
import { Producer, type ProducerPort } from "../src/publish/producer.ts";
import { topic } from "../src/topic.ts";
import { bench, type Bench, type BenchOptions, capabilities, limits, refusal, stored } from "./publish-support.ts";

interface Setup extends Bench {
  readonly port: ProducerPort;
}

function setup(over: Partial<ProducerPort> = {}, options: BenchOptions = { script: () => stored }): Setup {
  const made = bench(options);
  const port: ProducerPort = {
    driver: "fake",
    system: "fake",
    runtime: made.clock.runtime,
    limits: () => limits,
    capabilities: () => capabilities,
    queue: made.queue,
    middleware: [],
    wire: [],
    deadlineMs: 30_000,
    ...over,
  };
  return { ...made, port };
}

const orders = topic("orders");

function unavailable(): SluiceError {
  return new SluiceError("UNAVAILABLE", "fake: away");
}

describe("send", () => {
  test("resolves on the confirmation, with what the client answered", async () => {
    const { port, sender } = setup({}, { script: () => ({ outcome: "stored", native: { offset: 5 } }) });
    const receipt = await new Producer(orders, port).send({ n: 1 }, { id: "a" });
    expect(receipt).toEqual({ id: "a", routed: true, native: { offset: 5 } });
    expect(sender.calls[0]?.ids).toEqual(["a"]);
  });

  test("ids are made when none is given", async () => {
    const { port, sender } = setup();
    const producer = new Producer(orders, port);
    const receipts = await Promise.all([producer.send(1), producer.send(2)]);
    expect(sender.calls[0]?.ids).toEqual(receipts.map((each) => each.id));
    expect(receipts[0]?.id).not.toBe(receipts[1]?.id);
  });

  test("nobody keeps it: an error, unless the topic allows it", async () => {
    const { port } = setup({}, { script: () => refusal("unroutable", "UNROUTABLE") });
    await expect(new Producer(orders, port).send(1)).rejects.toMatchObject({
      code: "UNROUTABLE",
      outcome: "not-stored",
    });
    const loose = topic("loose", { unrouted: "allow" });
    expect(await new Producer(loose, port).send(1, { id: "a" })).toEqual({ id: "a", routed: false, native: undefined });
  });

  test("a bad payload or option rejects, and nothing is sent", async () => {
    const { port, sender } = setup();
    const Order = topic("orders", { schema: z.object({ n: z.number() }) });
    const producer = new Producer(Order, port);
    await expect(producer.send({ n: "1" } as never)).rejects.toMatchObject({ code: "INVALID_PAYLOAD" });
    await expect(producer.send({ n: 1 }, { deadline: "soon" as never })).rejects.toMatchObject({
      code: "CONFIG",
      outcome: "not-stored",
    });
    expect(sender.calls).toHaveLength(0);
  });

  test("deadline and signal are the queue's", async () => {
    const { port, clock } = setup({}, {});
    const producer = new Producer(orders, port);
    const controller = new AbortController();
    const late = producer.send(1, { deadline: "2s" });
    const ended = producer.send(2, { signal: controller.signal });
    await clock.settle();
    controller.abort();
    await expect(ended).rejects.toMatchObject({ code: "ABORTED", outcome: "unknown" });
    await expect(clock.run(late, 3000)).rejects.toMatchObject({ code: "TIMEOUT", outcome: "unknown" });
  });

  test("messages of an ordered topic go into the lane of their key", async () => {
    const { port, clock, sender } = setup({}, { capabilities: { sendOrder: "per-call" } });
    const producer = new Producer(topic("keyed", { key: (payload: { key: string | null }) => payload.key }), port);
    const sent = ["a", "a", null, null, "b"].map((key, index) => producer.send({ key }, { id: `m${index}` }));
    await clock.settle();
    expect(sender.calls[0]?.ids).toEqual(["m0", "m2", "m3", "m4"]);
    sender.script = () => stored;
    sender.calls[0]?.answerAll();
    await Promise.all(sent);
    expect(sender.calls[1]?.ids).toEqual(["m1"]);
  });
});

describe("order of calls", () => {
  test("an asynchronous schema does not let a later call overtake", async () => {
    const { port, sender } = setup();
    const waits: (() => void)[] = [];
    const slow = z
      .number()
      .refine((n) => n !== 0 || new Promise<boolean>((resolve) => waits.push(() => resolve(true))));
    const producer = new Producer(topic("slow", { schema: slow, key: () => "k" }), port);
    const sent = [0, 1, 2].map((n) => producer.send(n, { id: `m${n}` }));
    await new Promise((resolve) => setImmediate(resolve));
    expect(sender.calls).toHaveLength(0);
    for (const wake of waits) wake();
    await Promise.all(sent);
    expect(sender.calls.flatMap((call) => call.ids)).toEqual(["m0", "m1", "m2"]);
  });

  test("the first call prepares the topic once, and later ones keep their place", async () => {
    let prepared = 0;
    let known = false;
    const { port, sender } = setup({
      prepare: () => {
        if (known) return undefined;
        prepared++;
        return Promise.resolve().then(() => void (known = true));
      },
    });
    const producer = new Producer(orders, port);
    await Promise.all([1, 2, 3].map((n) => producer.send(n, { id: `m${n}` })));
    await producer.send(4, { id: "m4" });
    expect(prepared).toBe(1);
    expect(sender.calls.map((call) => call.ids)).toEqual([["m1", "m2", "m3"], ["m4"]]);
  });

  test("a broker that is away while the topic is prepared is tried again, until the deadline", async () => {
    let tries = 0;
    let away = true;
    const { port, clock, sender } = setup({
      prepare: () => {
        tries++;
        return away ? Promise.reject(unavailable()) : Promise.resolve();
      },
    });
    const producer = new Producer(orders, port);
    await expect(clock.run(producer.send(1, { deadline: "3s" }))).rejects.toMatchObject({
      code: "TIMEOUT",
      outcome: "not-stored",
    });
    expect(tries).toBeGreaterThan(2);
    expect(tries).toBeLessThan(20);
    await clock.advance(10_000);
    const before = tries;
    await clock.advance(60_000);
    expect(tries).toBe(before);
    away = false;
    await clock.run(producer.send(2));
    expect(sender.calls).toHaveLength(1);
  });

  test("while one waits for its schema, those behind keep their own deadlines and faults", async () => {
    const { port, clock, sender } = setup();
    let wake = () => {};
    const slow = z
      .string()
      .refine((text) => text !== "slow" || new Promise<boolean>((resolve) => (wake = () => resolve(true))));
    const producer = new Producer(topic("slow", { schema: slow }), port);
    const first = producer.send("slow", { id: "first" });
    const hasty = producer.send("a", { id: "hasty", deadline: "1s" });
    const large = producer.send("x".repeat(2000), { id: "large" });
    const last = producer.send("b", { id: "last" });
    await expect(clock.run(hasty)).rejects.toMatchObject({ code: "TIMEOUT", outcome: "not-stored" });
    wake();
    await expect(large).rejects.toMatchObject({ code: "TOO_LARGE", outcome: "not-stored" });
    await Promise.all([first, last]);
    expect(sender.calls.flatMap((call) => call.ids)).toEqual(["first", "last"]);
  });

  test("a topic that cannot be had fails its publishes at once", async () => {
    const { port, clock } = setup({ prepare: () => Promise.reject(new SluiceError("FORBIDDEN", "fake: no")) });
    const producer = new Producer(orders, port);
    await expect(producer.send(1)).rejects.toMatchObject({ code: "FORBIDDEN", outcome: "not-stored" });
    const controller = new AbortController();
    controller.abort();
    await expect(producer.send(1, { signal: controller.signal })).rejects.toMatchObject({ code: "ABORTED" });
    expect(clock.timers).toBe(0);
  });
});

describe("sendBatch", () => {
  test("answers for each message, in order", async () => {
    const { port, sender } = setup(
      {},
      { script: ({ record }) => (record.id === "c" ? refusal("not-stored", "TOO_LARGE") : stored) },
    );
    const results = await new Producer(orders, port).sendBatch([
      { payload: 1, options: { id: "a" } },
      { payload: undefined, options: { id: "b" } },
      { payload: 3, options: { id: "c" } },
      { payload: 4, options: { id: "d", headers: { x: "y" } } },
    ]);
    expect(results).toMatchObject([
      { status: "sent", receipt: { id: "a" } },
      { status: "failed", error: { code: "INVALID_PAYLOAD", outcome: "not-stored" } },
      { status: "failed", error: { code: "TOO_LARGE", outcome: "not-stored" } },
      { status: "sent", receipt: { id: "d" } },
    ]);
    expect(sender.calls.map((call) => call.ids)).toEqual([["a", "c", "d"]]);
  });

  test("only a wrong call rejects", async () => {
    const { port } = setup();
    const producer = new Producer(orders, port);
    expect(await producer.sendBatch([])).toEqual([]);
    await expect(producer.sendBatch("x" as never)).rejects.toMatchObject({ code: "CONFIG" });
    await expect(producer.sendBatch([{ payload: 1 }], { deadline: -1 })).rejects.toMatchObject({ code: "CONFIG" });
  });

  test("its signal and deadline are for all", async () => {
    const { port, clock } = setup({}, {});
    const producer = new Producer(orders, port);
    const results = await clock.run(producer.sendBatch([{ payload: 1 }, { payload: 2 }], { deadline: "1s" }));
    expect(results).toMatchObject([{ error: { code: "TIMEOUT" } }, { error: { code: "TIMEOUT" } }]);
  });
});

describe("middleware and events", () => {
  test("runs around the publish, may change key and headers, and sees the end", async () => {
    const log: string[] = [];
    const outer: PublishMiddleware = async (draft, next) => {
      log.push(`outer ${draft.id}`);
      draft.headers["x-trace"] = "1";
      draft.key = "other";
      await next();
      log.push("outer done");
    };
    const inner: PublishMiddleware = async (_draft, next) => {
      log.push("inner");
      await next();
    };
    const { port, sender } = setup({ middleware: [outer, inner] });
    const receipt = await new Producer(orders, port).send(1, { id: "a" });
    expect(receipt.id).toBe("a");
    expect(log).toEqual(["outer a", "inner", "outer done"]);
    expect(sender.calls[0]?.items[0]?.record).toMatchObject({ key: "other", headers: { "x-trace": "1" } });
  });

  test("the messages of a batch know each other, and when all have their results", async () => {
    const batches: Draft["batch"][] = [];
    const see: PublishMiddleware = (message, next) => {
      batches.push(message.batch);
      return next();
    };
    const { port } = setup({ middleware: [see] });
    const producer = new Producer(orders, port);
    await producer.send(1);
    expect(batches).toEqual([undefined]);
    // The last one fails before any middleware sees it.
    await producer.sendBatch([{ payload: 2 }, { payload: 3 }, { payload: 4, options: { id: "" } }]);
    const [, first, second, ...rest] = batches;
    expect(rest).toEqual([]);
    expect(first?.size).toBe(3);
    expect(second).toBe(first);
    await first?.settled;
  });

  test("what middleware writes is checked; one that does not call next sends nothing", async () => {
    const bad: PublishMiddleware = (draft, next) => {
      draft.headers["a b"] = "1";
      return next();
    };
    await expect(new Producer(orders, setup({ middleware: [bad] }).port).send(1)).rejects.toMatchObject({
      code: "INVALID_MESSAGE",
    });
    const silent = setup({ middleware: [() => Promise.resolve()] });
    await expect(new Producer(orders, silent.port).send(1)).rejects.toMatchObject({
      code: "ABORTED",
      outcome: "not-stored",
    });
    expect(silent.sender.calls).toHaveLength(0);
  });

  test("tells the diagnostics channels, once per message", async () => {
    const seen: unknown[] = [];
    const listen = (message: unknown) => void seen.push(message);
    subscribe(events.published.name, listen);
    subscribe(events.publishFailed.name, listen);
    const { port } = setup(
      {},
      { script: ({ record }) => (record.id === "b" ? refusal("unknown", "UNKNOWN") : stored) },
    );
    const producer = new Producer(orders, port);
    await producer.send(1, { id: "a" });
    await producer.send(2, { id: "b" }).catch(() => undefined);
    await producer.send(undefined, { id: "c" }).catch(() => undefined);
    unsubscribe(events.published.name, listen);
    unsubscribe(events.publishFailed.name, listen);
    const fields = { system: "fake", topic: "orders" };
    expect(seen).toMatchObject([
      { ...fields, id: "a", routed: true },
      { ...fields, id: "b", error: { code: "UNKNOWN", outcome: "unknown" } },
      { ...fields, id: "c", error: { code: "INVALID_PAYLOAD" } },
    ]);
  });
});
