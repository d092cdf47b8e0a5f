import { describe, expect, test } from "vitest";
import { bench, billing, calm, ids, item } from "./support/bench.ts";

describe("settling", () => {
  test("an accepted record is gone; late, double and foreign settlements are lost", async () => {
    const { send, read, broker } = await bench();
    const one = await read();
    const other = await read();
    await send(item("1"));
    const [delivery] = await one.receive();
    expect.assert(delivery);
    expect(await other.accept(delivery)).toEqual(["lost"]);
    expect(await one.accept(delivery, delivery)).toEqual(["durable", "lost"]);
    expect(await one.release("failed", delivery)).toEqual(["lost"]);
    expect(broker.depth("orders", "billing")).toEqual({ ready: 0, inFlight: 0, delayed: 0, deadLetters: 0 });
  });

  test("a released record goes back to its place; only a failed one is counted", async () => {
    const { send, read } = await bench();
    const { receive, release } = await read();
    await send(item("1"), item("2"), item("3"));
    const [first, second] = await receive(2);
    expect.assert(first && second);
    await release("failed", second);
    await release("returned", first);
    const again = await receive();
    expect(again.map(({ id, deliveries }) => [id, deliveries])).toEqual([
      ["1", 1],
      ["2", 2],
      ["3", 1],
    ]);
  });

  test("a released record wakes another member that waits", async () => {
    const { clock, send, read } = await bench();
    const one = await read();
    const other = await read();
    await send(item("1"));
    const held = await one.receive();
    const waiting = other.receive();
    await clock.settle();
    await one.release("returned", ...held);
    expect(ids(await waiting)).toBe("1");
  });

  test("a lease that runs out: delivered again, counted, and the old holder settles nothing", async () => {
    const { clock, send, read } = await bench(undefined, { leaseMs: 1_000 });
    const one = await read();
    const other = await read();
    await send(item("1"));
    const [old] = await one.receive();
    expect.assert(old);
    await clock.advance(999);
    expect(one.lost).toEqual([]);
    await clock.advance(1);
    expect(one.lost).toEqual([{ ids: ["1"], reason: "expired" }]);
    const [fresh] = await other.receive();
    expect.assert(fresh);
    expect(fresh.deliveries).toBe(2);
    expect(await one.accept(old)).toEqual(["lost"]);
    expect(await other.accept(fresh)).toEqual(["durable"]);
  });

  test("extend keeps a record, names the lost ones, and can shorten a lease", async () => {
    const { clock, send, read } = await bench(undefined, { leaseMs: 1_000 });
    const { receive, receiver, lost } = await read();
    await send(item("1"), item("2"), item("3"));
    const [first, second, third] = await receive();
    expect.assert(first && second && third);
    await clock.advance(600);
    expect(await receiver.extend?.([first], 1_000)).toEqual([]);
    expect(await receiver.extend?.([third], 100)).toEqual([]);
    await clock.advance(100);
    expect(lost).toEqual([{ ids: ["3"], reason: "expired" }]);
    await clock.advance(500);
    expect(lost[1]).toEqual({ ids: ["2"], reason: "expired" });
    expect(await receiver.extend?.([first, second], 1_000)).toEqual([second]);
    await clock.advance(999);
    expect(await receiver.settle([{ delivery: first, accept: true }])).toEqual(["durable"]);
    expect(lost.length).toBe(2);
  });

  test("a record of a closed receiver, or of a cut connection, is delivered again", async () => {
    const { send, read, connect, broker } = await bench();
    const closing = await read();
    const cut = await read(billing, {}, await connect("cut"));
    await send(item("1"), item("2"));
    await closing.receive(1);
    await cut.receive(1);
    await closing.receiver.close(calm);
    broker.disconnect("cut");
    expect(closing.lost).toEqual([]);
    expect(cut.lost).toEqual([{ ids: ["2"], reason: "disconnected" }]);
    expect(await cut.receiver.closed).toMatchObject({ code: "UNAVAILABLE" });
    const again = await (await read()).receive();
    expect(again.map(({ id, deliveries }) => [id, deliveries])).toEqual([
      ["1", 1],
      ["2", 2],
    ]);
  });
});

describe("commit", () => {
  const own = { topic: "orders", group: "billing" } as const;

  test("a unit sends and accepts together, or does neither", async () => {
    const { clock, send, read, broker } = await bench(undefined, { leaseMs: 1_000 });
    const { receive, receiver } = await read();
    await send(item("1"), item("2"), item("3"));
    const [first, second, third] = await receive();
    expect.assert(first && second && third);
    await receiver.extend?.([first, third], 60_000);
    await clock.advance(1_000);
    const answers = await receiver.commit?.([
      { accept: [first], send: [item("1/1", { to: { ...own, deadLetter: true } }), item("1/2", { to: own })] },
      { accept: [second], send: [item("2/1", { to: own })] },
      { accept: [third], send: [item("3/1", { to: own }), item("3/2", { to: { topic: "nowhere" } })] },
    ]);
    expect(answers).toEqual(["durable", "lost", "unknown"]);
    expect(broker.depth("orders", "billing")).toEqual({ ready: 2, inFlight: 1, delayed: 0, deadLetters: 1 });
    expect(ids(await receive())).toBe("1/2 2");
  });

  test("a closed receiver commits nothing", async () => {
    const { read, broker } = await bench();
    const { receiver } = await read();
    await receiver.close(calm);
    expect(await receiver.commit?.([{ accept: [], send: [item("1")] }])).toEqual(["lost"]);
    expect(broker.depth("orders", "billing").ready).toBe(0);
  });
});
