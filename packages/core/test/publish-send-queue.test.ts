import { describe, expect, test } from "vitest";
import { DriverError } from "../src/driver/index.ts";
import { SluiceError } from "../src/errors.ts";
import { bench, FakeSender, refusal, stored } from "./publish-support.ts";

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

  test("parked ones that ended do not stop their lane either, purged or not", async () => {
    for (const others of [0, 2000]) {
      const { clock, put, fate, sender } = bench({ capabilities: { sendOrder: "per-call" } });
      put("k1", { key: "k", ms: 10 });
      await clock.settle();
      sender.calls[0]?.answerAll(refusal());
      await clock.settle();
      put("k2", { key: "k" });
      for (let index = 0; index < others; index++) put(`m${index}`, { ms: 10, key: `other${index % 3}` });
      sender.script = ({ record }) => (record.id === "k2" ? stored : refusal());
      await clock.advance(10_000);
      expect([fate("k1"), fate("k2")]).toEqual(["UNAVAILABLE not-stored", "stored"]);
    }
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
