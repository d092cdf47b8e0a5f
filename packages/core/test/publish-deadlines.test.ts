import { getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { bench, item, refusal, stored } from "./publish-support.ts";

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

  test("one listener per signal, and none once all are settled", async () => {
    const { clock, put, sender } = bench();
    const { signal } = new AbortController();
    for (let index = 0; index < 100; index++) put(`m${index}`, { signal });
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    await clock.settle();
    sender.calls[0]?.answerAll();
    await clock.settle();
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
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

  test("a small one does not pass a large one that waits", async () => {
    const { clock, put, ids, sender } = bench({ buffer: { bytes: 1000 } });
    put("a", { bytes: 600 });
    put("large", { bytes: 600 });
    put("small");
    await clock.settle();
    sender.calls[0]?.answerAll();
    await clock.settle();
    expect(ids()).toEqual([["a"], ["large", "small"]]);
  });

  test("one that ends makes room for one that waits", async () => {
    const { clock, put, sender, queue } = bench({ buffer: { messages: 1 }, limits: { sendsInFlight: 2 } });
    const controller = new AbortController();
    put("a", { signal: controller.signal });
    put("b");
    await clock.settle();
    controller.abort();
    await clock.settle();
    expect(sender.calls[1]?.ids).toEqual(["b"]);
    expect(queue.health()).toMatchObject({ pending: 1, waiting: 0 });
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
