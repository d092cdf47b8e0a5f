import { describe, expect, test } from "vitest";
import { bench, billing, calm, declared, ids, item } from "./support/bench.ts";

describe("receiving", () => {
  test("shards take turns, however much waits in one of them", async () => {
    const { send, read } = await bench([declared("orders", { ordered: true, shards: 2 })]);
    const { receive } = await read(billing, { ordered: true });
    await send(...Array.from({ length: 6 }, (_, index) => item(`a${index}`, { key: "a" })));
    await send(item("b0", { key: "b" }), item("b1", { key: "b" }));
    const batch = await receive(4);
    expect(batch.filter(({ key }) => key === "b").length).toBe(2);
  });

  test("the window bounds what is handed out and unsettled", async () => {
    const { send, read, clock } = await bench();
    const { receive, poll, accept } = await read(billing, { window: 2 });
    await send(item("1"), item("2"), item("3"));
    const [first] = await receive();
    expect.assert(first);
    expect(ids(await poll())).toBe("");
    const waiting = receive();
    await clock.settle();
    await accept(first);
    expect(ids(await waiting)).toBe("3");
  });

  test("the byte window bounds the bodies, soft by one record", async () => {
    const { send, read } = await bench();
    const { receive, poll, accept } = await read(billing, { windowBytes: 10 });
    const body = new Uint8Array(6);
    await send(item("1", { body }), item("2", { body }), item("3", { body }));
    const held = await receive();
    expect(ids(held)).toBe("1 2");
    expect(ids(await poll())).toBe("");
    await accept(...held);
    expect(ids(await receive())).toBe("3");
  });

  test("a call that waits is answered by the first record, by abort, or by stop", async () => {
    const { send, read, clock } = await bench();
    const { receiver } = await read();
    const abort = new AbortController();
    const aborted = receiver.receive(10, abort.signal);
    await clock.settle();
    abort.abort();
    expect(await aborted).toEqual([]);
    const answered = receiver.receive(10, calm);
    await send(item("1"));
    expect(ids((await answered) ?? [])).toBe("1");
    const stopped = receiver.receive(10, calm);
    await receiver.stop(calm);
    expect(await stopped).toEqual([]);
    expect(await receiver.receive(10, calm)).toEqual([]);
  });

  test("after stop nothing comes in, and what is held can still be settled and extended", async () => {
    const { send, read, connection } = await bench();
    const { receive, receiver, accept } = await read();
    await send(item("1"), item("2"));
    const held = await receive(1);
    await receiver.stop(calm);
    await receiver.stop(calm);
    expect((await connection.backlog(billing, calm)).ready).toBe(1);
    expect(await receiver.extend?.(held, 1_000)).toEqual([]);
    expect(await accept(...held)).toEqual(["durable"]);
    await receiver.flush(calm);
    await Promise.all([receiver.close(calm), receiver.close(calm)]);
    expect(await receiver.closed).toBeUndefined();
  });

  test("closing the connection ends everything and leaves no timer", async () => {
    const { send, read, connection, clock } = await bench();
    const { receive, receiver, accept } = await read();
    await send(item("1"), item("2", { notBefore: clock.now() + 1_000 }));
    const held = await receive();
    // One lease, one delay, and one that keeps the process alive.
    expect(clock.timers).toBe(3);
    const waiting = receiver.receive(1, calm);
    await connection.close(calm);
    await connection.close(calm);
    expect(clock.timers).toBe(0);
    expect(await waiting).toEqual([]);
    expect(await accept(...held)).toEqual(["lost"]);
    expect([await receiver.closed, await connection.closed]).toEqual([undefined, undefined]);
    await expect(connection.ping(calm)).rejects.toMatchObject({ code: "LOST" });
  });

  test("hold stops one shard while others flow", async () => {
    const { send, read, clock } = await bench([declared("orders", { ordered: true, shards: 2 })]);
    const { receiver, receive, poll, accept } = await read(billing, { ordered: true });
    await send(item("1", { key: "a" }), item("2", { key: "b" }));
    const [first, second] = await receive();
    expect.assert(first && second && first.shard !== second.shard);
    await accept(first, second);
    receiver.hold?.([first.shard], true);
    await send(item("3", { key: "a" }), item("4", { key: "b" }));
    expect(ids(await poll())).toBe("4");
    const waiting = receive();
    await clock.settle();
    receiver.hold?.([first.shard], false);
    expect(ids(await waiting)).toBe("3");
  });

  test("what is missing, mixed or unordered is refused at the call", async () => {
    const { read } = await bench([declared("orders"), declared("ledger", { ordered: true, shards: 2 })]);
    await expect(read({ ...billing, topic: "nowhere" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(read({ ...billing, group: "nobody" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(read(billing, { ordered: true })).rejects.toMatchObject({ code: "MISMATCH" });
    await expect(read({ delayed: true })).rejects.toMatchObject({ code: "UNSUPPORTED" });
    const ledger = { ...billing, topic: "ledger" };
    await read(ledger, { ordered: true });
    await expect(read([billing, ledger])).rejects.toMatchObject({ code: "BUSY" });
  });

  test("backlog counts exactly", async () => {
    const { send, read, connection, clock } = await bench();
    const { receive } = await read();
    await send(item("1"));
    await clock.advance(500);
    const to = { topic: "orders", group: "billing" } as const;
    await send(
      item("2"),
      item("3", { notBefore: clock.now() + 9_000 }),
      item("4", { to, notBefore: clock.now() + 9_000 }),
    );
    await clock.advance(1_000);
    expect(await connection.backlog(billing, calm)).toEqual({ ready: 2, inFlight: 0, delayed: 2, oldestMs: 1_500 });
    await receive(1);
    expect(await connection.backlog(billing, calm)).toEqual({ ready: 1, inFlight: 1, delayed: 2, oldestMs: 1_000 });
    await clock.advance(9_000);
    expect(await connection.backlog(billing, calm)).toMatchObject({ ready: 3, delayed: 0 });
    await expect(connection.backlog({ ...billing, group: "nobody" }, calm)).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });
});
