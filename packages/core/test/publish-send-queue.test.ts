import { describe, expect, test } from "vitest";
import { DriverError } from "../src/driver/index.ts";
import { SluiceError } from "../src/errors.ts";
import { bench, FakeSender, item, refusal, stored } from "./publish-support.ts";

describe("gathering", () => {
  test("sends at once when idle, and everything of one tick in one call", async () => {
    const { clock, put, ids, fate, sender } = bench();
    put("a");
    put("b");
    await clock.settle();
    expect(ids()).toEqual([["a", "b"]]);
    sender.calls[0]?.answer(stored, { outcome: "stored", native: 7 });
    await clock.settle();
    expect([fate("a"), fate("b")]).toEqual(["stored", "stored"]);
    expect(clock.now()).toBe(Date.UTC(2026, 0, 1));
  });

  test("gathers while a call is in flight, up to the driver's bounds", async () => {
    const { clock, put, ids, sender } = bench({ limits: { batch: { items: 3, bytes: 400 } } });
    put("a");
    await clock.settle();
    for (const id of ["b", "c", "d", "e"]) put(id);
    put("big", { bytes: 1000 });
    put("f");
    await clock.settle();
    expect(ids()).toEqual([["a"]]);
    for (let index = 0; index < 4; index++) {
      sender.calls[index]?.answerAll();
      await clock.settle();
    }
    expect(ids()).toEqual([["a"], ["b", "c", "d"], ["e"], ["big"], ["f"]]);
  });

  test("overlaps as many calls as the driver wants, and no more", async () => {
    const { clock, put, ids, sender } = bench({ limits: { sendsInFlight: 2, batch: { items: 1 } } });
    for (const id of ["a", "b", "c"]) put(id);
    await clock.settle();
    expect(ids()).toEqual([["a"], ["b"]]);
    sender.calls[1]?.answerAll();
    await clock.settle();
    expect(ids()).toEqual([["a"], ["b"], ["c"]]);
  });

  test("scope 'destination': one destination per call, destinations take turns", async () => {
    const { clock, put, ids, sender } = bench({ limits: { batch: { items: 2, scope: "destination" } } });
    for (const id of ["a1", "a2", "a3"]) put(id, { topic: "a" });
    put("b1", { topic: "b" });
    for (let index = 0; index < 3; index++) {
      await clock.settle();
      sender.calls[index]?.answerAll();
    }
    expect(ids()).toEqual([["a1", "a2"], ["b1"], ["a3"]]);
  });

  test("10,000 publishes at once take few calls", async () => {
    const { clock, put, sender, settled } = bench({
      script: () => stored,
      limits: { sendsInFlight: 4, batch: { items: 1000 } },
    });
    for (let index = 0; index < 10_000; index++) put(`m${index}`);
    await clock.settle();
    expect(settled).toHaveLength(10_000);
    expect(sender.calls).toHaveLength(10);
    expect(settled.map((each) => each.id)).toEqual(Array.from({ length: 10_000 }, (_, index) => `m${index}`));
  });
});

describe("order of a key", () => {
  test("an ordered driver gets many of one key in a call; after a failure they go again in order", async () => {
    const { clock, put, ids, sender, settled } = bench();
    for (const id of ["k1", "k2", "k3"]) put(id, { key: "k" });
    await clock.settle();
    put("k4", { key: "k" });
    put("free");
    sender.calls[0]?.answer(stored, refusal(), refusal());
    await clock.settle();
    expect(ids()).toEqual([["k1", "k2", "k3"], ["free"]]);
    sender.calls[1]?.answerAll();
    await clock.until(() => sender.calls.length === 3);
    expect(sender.calls[2]?.ids).toEqual(["k2", "k3", "k4"]);
    sender.calls[2]?.answerAll();
    await clock.settle();
    expect(settled.map((each) => each.id)).toEqual(["k1", "free", "k2", "k3", "k4"]);
  });

  test("calls that overlap and fail in any order are repeated in the order of the key", async () => {
    const { clock, put, sender } = bench({ limits: { sendsInFlight: 3, batch: { items: 1 } } });
    for (const id of ["k1", "k2", "k3", "k4"]) put(id, { key: "k" });
    await clock.settle();
    sender.calls[1]?.answerAll(refusal());
    await clock.advance(1000);
    expect(sender.calls.map((call) => call.ids[0])).toEqual(["k1", "k2", "k3"]);
    sender.calls[2]?.answerAll(refusal());
    sender.calls[0]?.answerAll(refusal());
    sender.script = () => stored;
    await clock.advance(1000);
    expect(sender.calls.map((call) => call.ids[0])).toEqual(["k1", "k2", "k3", "k1", "k2", "k3", "k4"]);
  });

  test("any other driver has one of a key outstanding, and other keys pass", async () => {
    const { clock, put, ids, sender } = bench({
      capabilities: { sendOrder: "per-call" },
      limits: { sendsInFlight: 2 },
    });
    put("a1", { key: "a" });
    put("a2", { key: "a" });
    put("b1", { key: "b" });
    await clock.settle();
    put("c1");
    await clock.settle();
    expect(ids()).toEqual([["a1", "b1"], ["c1"]]);
    sender.calls[0]?.answer(refusal(), stored);
    await clock.settle();
    expect(sender.calls).toHaveLength(2);
    await clock.until(() => sender.calls.length === 3);
    expect(sender.calls[2]?.ids).toEqual(["a1"]);
    sender.calls[2]?.answerAll(refusal("not-stored", "INVALID_MESSAGE"));
    await clock.settle();
    expect(sender.calls[3]?.ids).toEqual(["a2"]);
  });

  test("one that ended before it was sent does not stop its lane", async () => {
    const { clock, put, fate, sender } = bench({ capabilities: { sendOrder: "per-call" } });
    put("busy");
    await clock.settle();
    put("k1", { key: "k", ms: 100 });
    put("k2", { key: "k" });
    await clock.advance(200);
    expect(fate("k1")).toBe("TIMEOUT not-stored");
    sender.calls[0]?.answerAll();
    await clock.settle();
    expect(sender.calls[1]?.ids).toEqual(["k2"]);
  });

  test("the same key of another destination is another lane", async () => {
    const { clock, put, ids } = bench({ capabilities: { sendOrder: "per-call" } });
    put("a", { key: "k", topic: "one" });
    put("b", { key: "k", topic: "two" });
    await clock.settle();
    expect(ids()).toEqual([["a", "b"]]);
  });

  test("a lane stays closed while the driver still sends what its caller gave up", async () => {
    const { clock, put, fate, sender } = bench({
      capabilities: { sendOrder: "per-call" },
      limits: { sendsInFlight: 2 },
    });
    put("k1", { key: "k", ms: 100 });
    put("k2", { key: "k" });
    await clock.advance(200);
    expect(fate("k1")).toBe("TIMEOUT unknown");
    expect(sender.calls[0]?.signal.aborted).toBe(true);
    expect(sender.calls).toHaveLength(1);
    sender.calls[0]?.answerAll(refusal("unknown"));
    await clock.settle();
    expect(sender.calls[1]?.ids).toEqual(["k2"]);
  });
});

describe("retry", () => {
  test("retries what is retryable until it is stored, with back-off", async () => {
    let tries = 0;
    const { clock, put, fate, sender, events, queue } = bench({ script: () => (++tries < 4 ? refusal() : stored) });
    put("a");
    await clock.settle();
    expect(tries).toBe(1);
    expect(queue.health().lastError?.code).toBe("UNAVAILABLE");
    await clock.until(() => fate("a") !== undefined);
    expect(fate("a")).toBe("stored");
    expect(sender.calls).toHaveLength(4);
    expect(events.map((event) => event.kind)).toEqual(["failing", "failing", "failing", "flowing"]);
    expect(queue.health().lastError).toBeUndefined();
    expect(queue.health().lastConfirmedAt?.getTime()).toBe(Math.floor(clock.now()));
  });

  test("what is not retryable fails at once, alone", async () => {
    const { clock, put, fate, sender } = bench();
    put("a");
    put("b");
    put("c");
    await clock.settle();
    sender.calls[0]?.answer(refusal("not-stored", "TOO_LARGE"), stored, refusal("unknown", "UNKNOWN"));
    await clock.settle();
    expect([fate("a"), fate("b"), fate("c")]).toEqual(["TOO_LARGE not-stored", "stored", "UNKNOWN unknown"]);
  });

  test("unroutable is an answer, not a failure to repeat", async () => {
    const { clock, put, settled, sender } = bench({ script: () => refusal("unroutable", "UNROUTABLE") });
    put("a");
    await clock.settle();
    expect(sender.calls).toHaveLength(1);
    expect(settled[0]?.result).toMatchObject({
      outcome: "unroutable",
      error: { code: "UNROUTABLE", outcome: "not-stored" },
    });
  });

  test("unknown is sticky: a later refusal does not make it certain", async () => {
    const { clock, put, fate, sender } = bench();
    put("a");
    await clock.settle();
    sender.calls[0]?.answerAll(refusal("unknown"));
    await clock.until(() => sender.calls.length === 2);
    sender.calls[1]?.answerAll(refusal("not-stored", "INVALID_MESSAGE"));
    await clock.settle();
    expect(fate("a")).toBe("INVALID_MESSAGE unknown");
  });

  test("in an outage one probe at a time goes out, and rarely", async () => {
    const { clock, put, sender, fate } = bench({
      script: () => refusal(),
      limits: { sendsInFlight: 10, batch: { items: 1 } },
    });
    for (let index = 0; index < 50; index++) put(`m${index}`);
    await clock.settle();
    const burst = sender.calls.length;
    expect(burst).toBeLessThanOrEqual(10);
    await clock.advance(29_000);
    expect(sender.calls.length - burst).toBeLessThan(30);
    sender.script = () => stored;
    await clock.until(() => fate("m49") !== undefined);
    expect(fate("m49")).toBe("stored");
  });

  test("one destination that refuses does not hold up the others", async () => {
    const { clock, put, fate, sender } = bench({
      script: ({ to }) => (to.topic === "full" ? refusal("not-stored", "REFUSED") : stored),
      limits: { batch: { scope: "destination" } },
    });
    put("f", { topic: "full" });
    await clock.advance(20_000);
    put("a");
    await clock.settle();
    expect(fate("a")).toBe("stored");
    expect(sender.calls.length).toBeLessThan(40);
    await clock.advance(20_000);
    expect(fate("f")).toBe("REFUSED not-stored");
  });

  test("a sender that closed is replaced, and nothing is lost or doubled for the caller", async () => {
    const senders = [new FakeSender(), new FakeSender(() => stored)];
    let opened = 0;
    const { clock, put, fate, settled } = bench({
      sender: () => {
        const next = senders[opened++];
        return next ? Promise.resolve(next) : Promise.reject(new Error("no more"));
      },
    });
    put("a");
    put("b");
    await clock.settle();
    senders[0]?.fail(new DriverError("LOST", "fake: gone"));
    senders[0]?.calls[0]?.answer(refusal("unknown", "LOST"), refusal("not-stored", "LOST"));
    await clock.until(() => settled.length === 2);
    expect([fate("a"), fate("b")]).toEqual(["stored", "stored"]);
    expect(opened).toBe(2);
  });

  test("a driver that throws or leaves out results is a fault, and the outcome is unknown", async () => {
    const { clock, put, fate, sender, events } = bench();
    put("a");
    put("b");
    await clock.settle();
    sender.calls[0]?.answer(stored);
    await clock.settle();
    expect([fate("a"), fate("b")]).toEqual(["stored", "UNKNOWN unknown"]);
    sender.send = () => {
      throw new Error("a bug");
    };
    put("c");
    await clock.settle();
    expect(fate("c")).toBe("UNKNOWN unknown");
    expect(events.some((event) => event.kind === "fault")).toBe(true);
  });

  test("no sender for now: asked again with back-off", async () => {
    const sender = new FakeSender(() => stored);
    let asked = 0;
    const { clock, put, fate } = bench({
      sender: () =>
        ++asked < 4 ? Promise.reject(new DriverError("UNAVAILABLE", "fake: away")) : Promise.resolve(sender),
    });
    put("a");
    await clock.settle();
    expect(asked).toBe(1);
    await clock.until(() => fate("a") !== undefined);
    expect([asked, fate("a")]).toEqual([4, "stored"]);
  });

  test("a sender that is closed already is not asked for in a hot loop", async () => {
    const dead = new FakeSender();
    dead.fail();
    let asked = 0;
    const { clock, put, fate } = bench({
      sender: () => {
        asked++;
        return Promise.resolve(dead);
      },
    });
    put("a", { ms: 10_000 });
    await clock.advance(10_100);
    expect(fate("a")).toBe("TIMEOUT not-stored");
    expect(asked).toBeLessThan(20);
    expect(dead.calls).toHaveLength(0);
  });

  test("no sender for good: everything that waits fails with the reason", async () => {
    const { clock, put, settled } = bench({
      sender: () => Promise.reject(new SluiceError("UNAUTHORIZED", "fake: wrong password; fix it")),
    });
    put("a");
    await clock.settle();
    expect(settled[0]?.result).toMatchObject({
      outcome: "failed",
      error: { code: "UNAUTHORIZED", outcome: "not-stored" },
    });
  });
});

describe("deadline and signal", () => {
  test("never sent: TIMEOUT, not-stored", async () => {
    const { clock, put, settled, fate } = bench({ sender: () => new Promise(() => {}) });
    put("a", { ms: 100 });
    put("b", { ms: 5000 });
    await clock.advance(300);
    expect(settled).toHaveLength(1);
    expect(fate("a")).toBe("TIMEOUT not-stored");
    await clock.advance(6000);
    expect(fate("b")).toBe("TIMEOUT not-stored");
  });

  test("tried and refused until the deadline: the broker's reason, not-stored", async () => {
    const { clock, put, settled } = bench({ script: () => refusal("not-stored", "REFUSED") });
    put("a", { ms: 2000 });
    await clock.advance(3000);
    expect(settled[0]?.result).toMatchObject({ error: { code: "REFUSED", outcome: "not-stored" } });
  });

  test("sent and unconfirmed: TIMEOUT, unknown, while the call of the others goes on", async () => {
    const { clock, put, fate, sender } = bench();
    put("a", { ms: 100 });
    put("b", { ms: 10_000 });
    await clock.advance(300);
    expect([fate("a"), fate("b")]).toEqual(["TIMEOUT unknown", undefined]);
    expect(sender.calls[0]?.signal.aborted).toBe(false);
    sender.calls[0]?.answerAll();
    await clock.settle();
    expect([fate("a"), fate("b")]).toEqual(["TIMEOUT unknown", "stored"]);
  });

  test("the caller's signal ends the wait; one that is aborted already sends nothing", async () => {
    const { clock, put, fate, sender } = bench();
    const first = new AbortController();
    const second = new AbortController();
    put("sent", { signal: first.signal });
    await clock.settle();
    put("queued", { signal: first.signal });
    put("other", { signal: second.signal });
    first.abort();
    put("late", { signal: first.signal });
    expect([fate("sent"), fate("queued"), fate("late")]).toEqual([
      "ABORTED unknown",
      "ABORTED not-stored",
      "ABORTED not-stored",
    ]);
    sender.calls[0]?.answerAll();
    await clock.settle();
    expect(sender.calls[1]?.ids).toEqual(["other"]);
  });

  test("one timer, however many messages", async () => {
    const { clock, put } = bench({ sender: () => new Promise(() => {}) });
    for (let index = 0; index < 100; index++) put(`m${index}`, { ms: 1000 + index });
    expect(clock.timers).toBe(1);
  });

  test("entries that ended hold no memory while nothing can be sent", async () => {
    const { clock, put, settled, queue } = bench({ sender: () => new Promise(() => {}) });
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 3000; index++) put(`m${index}`, { ms: 100, key: `k${index % 7}` });
      await clock.advance(200);
    }
    expect(settled).toHaveLength(15_000);
    expect(queue.health()).toMatchObject({ pending: 0, bytes: 0, waiting: 0, oldestMs: undefined });
  });
});

describe("back-pressure", () => {
  test("waits for room in the order of coming, by count", async () => {
    const { clock, put, ids, sender, queue } = bench({ buffer: { messages: 2 } });
    for (const id of ["a", "b", "c", "d", "e"]) put(id);
    await clock.settle();
    expect(ids()).toEqual([["a", "b"]]);
    expect(queue.health()).toMatchObject({ pending: 5, waiting: 3 });
    sender.calls[0]?.answerAll();
    await clock.settle();
    put("f");
    sender.calls[1]?.answerAll();
    await clock.settle();
    expect(ids()).toEqual([
      ["a", "b"],
      ["c", "d"],
      ["e", "f"],
    ]);
  });

  test("by bytes, where one above the bound passes alone", async () => {
    const { clock, put, ids, sender } = bench({ buffer: { bytes: 1000 } });
    put("a", { bytes: 600 });
    put("b", { bytes: 600 });
    await clock.settle();
    sender.calls[0]?.answerAll();
    await clock.settle();
    put("huge", { bytes: 1500 });
    sender.calls[1]?.answerAll();
    await clock.settle();
    expect(ids()).toEqual([["a"], ["b"], ["huge"]]);
  });

  test("no room until the deadline: BACKPRESSURE; a full line refuses at once", async () => {
    const { clock, put, fate, settled } = bench({ buffer: { messages: 2 } });
    for (let index = 0; index < 19; index++) put(`m${index}`, { ms: 1000 });
    expect(settled.map((each) => each.id)).toEqual(["m18"]);
    await clock.advance(2000);
    expect([fate("m0"), fate("m1"), fate("m2"), fate("m18")]).toEqual([
      "TIMEOUT unknown",
      "TIMEOUT unknown",
      "BACKPRESSURE not-stored",
      "BACKPRESSURE not-stored",
    ]);
  });

  test("internal items pass the bound", async () => {
    const { clock, put, ids } = bench({ buffer: { messages: 1 } });
    put("a");
    put("b");
    put("copy", { internal: true });
    await clock.settle();
    expect(ids()).toEqual([["a", "copy"]]);
  });
});

describe("drain and close", () => {
  test("drain waits for everything, or for its signal", async () => {
    const { clock, put, sender, queue } = bench();
    expect(await queue.drain()).toBe(true);
    put("a");
    const controller = new AbortController();
    const impatient = queue.drain(controller.signal);
    const patient = queue.drain();
    await clock.settle();
    controller.abort();
    expect(await impatient).toBe(false);
    sender.calls[0]?.answerAll();
    expect(await patient).toBe(true);
  });

  test("close ends what is left, aborts the calls and refuses what comes later", async () => {
    const { clock, put, fate, sender, queue } = bench();
    put("sent");
    await clock.settle();
    put("queued");
    queue.close();
    queue.close();
    put("late");
    expect([fate("sent"), fate("queued"), fate("late")]).toEqual([
      "CLOSED unknown",
      "CLOSED not-stored",
      "CLOSED not-stored",
    ]);
    expect(sender.calls[0]?.signal.aborted).toBe(true);
    sender.calls[0]?.answerAll(refusal());
    await clock.settle();
    expect(sender.calls).toHaveLength(1);
    expect(clock.timers).toBe(0);
    expect(await queue.drain()).toBe(true);
  });

  test("a callback that throws is reported and harms nobody", async () => {
    const { clock, queue, put, fate, events, sender } = bench({ script: () => stored });
    queue.enqueue(item("bad"), {
      deadlineMs: 1000,
      onSettled() {
        throw new Error("mine");
      },
    });
    put("good");
    await clock.settle();
    expect(fate("good")).toBe("stored");
    expect(events).toMatchObject([{ kind: "fault", error: { message: "mine" } }]);
    expect(sender.calls).toHaveLength(1);
  });

  test("send is the same as a promise", async () => {
    const { queue } = bench({ script: () => ({ outcome: "stored", native: 3 }) });
    expect(await queue.send(item("a"), { deadlineMs: 1000 })).toEqual({ outcome: "stored", native: 3 });
  });
});
