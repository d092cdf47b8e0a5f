import { describe, expect, test } from "vitest";
import type { Delivery } from "@sluice/core/driver";
import { bench, billing, calm, declared, ids, item } from "./support/bench.ts";

const keys = Array.from({ length: 40 }, (_, index) => `key-${index}`);
const ordered = { ordered: true };

describe("ordered groups", () => {
  const topics = [declared("orders", { ordered: true, shards: 4 })];
  const shardsOf = (deliveries: readonly Delivery[]) => new Set(deliveries.map(({ shard }) => shard));

  test("records of a key have one shard, one holder, and their order", async () => {
    const { send, read } = await bench(topics);
    const one = await read(billing, ordered);
    const other = await read(billing, ordered);
    await send(...keys.flatMap((key) => [item(`${key}/1`, { key }), item(`${key}/2`, { key: Buffer.from(key) })]));
    const [left, right] = [await one.receive(), await other.receive()];
    expect(left.length + right.length).toBe(80);
    expect([shardsOf(left).size, shardsOf(right).size]).toEqual([2, 2]);
    expect(shardsOf([...left, ...right]).size).toBe(4);
    for (const key of keys) {
      const own = [...left, ...right].filter(({ id }) => id?.startsWith(`${key}/`));
      expect(ids(own)).toBe(`${key}/1 ${key}/2`);
      expect(shardsOf(own).size).toBe(1);
    }
  });

  test("a shard moves only when nothing of it is unsettled, and under a higher fence", async () => {
    const { send, read } = await bench(topics);
    const one = await read(billing, ordered);
    await send(...keys.map((key) => item(key, { key })));
    const held = await one.receive();
    const other = await read(billing, ordered);
    await send(...keys.map((key) => item(`${key}!`, { key })));
    expect(ids(await other.poll())).toBe("");
    const kept = shardsOf(await one.receive());
    expect(kept.size).toBe(2);
    const moved = held.find(({ shard }) => !kept.has(shard));
    expect.assert(moved);
    const unsettled = held.filter(({ shard }) => shard === moved.shard);
    await one.accept(...unsettled.slice(1));
    expect(ids(await other.poll())).toBe("");
    await one.release("returned", ...unsettled.slice(0, 1));
    const taken = await other.poll();
    expect(taken[0]?.id).toBe(unsettled[0]?.id);
    expect(shardsOf(taken)).toEqual(new Set([moved.shard]));
    expect(taken.every(({ fence }) => fence === 2n && moved.fence === 1n)).toBe(true);
  });

  test("a member that stops gives its shards away, each after its last settlement", async () => {
    const { send, read } = await bench(topics);
    const one = await read(billing, ordered);
    await send(...keys.map((key) => item(key, { key })));
    const held = await one.receive(1);
    const other = await read(billing, ordered);
    await one.receiver.stop(calm);
    const free = await other.poll();
    expect(shardsOf(free).size).toBe(3);
    expect(shardsOf(free).has(held[0]?.shard ?? "")).toBe(false);
    await one.accept(...held);
    expect(shardsOf(await other.poll())).toEqual(shardsOf(held));
  });

  test("closing gives back what is unsettled, in order, before the next holder starts", async () => {
    const { send, read } = await bench(topics);
    const one = await read(billing, ordered);
    await send(item("1", { key: "a" }), item("2", { key: "a" }), item("3", { key: "a" }));
    await one.receive(2);
    const other = await read(billing, ordered);
    const waiting = other.receive();
    await one.receiver.close(calm);
    expect(ids(await waiting)).toBe("1 2 3");
  });

  test("a lease that runs out loses the whole shard, and nothing of another one", async () => {
    const { clock, send, read } = await bench(topics, { leaseMs: 1_000 });
    const { receive, receiver, lost } = await read(billing, ordered);
    await send(item("1", { key: "a" }), item("2", { key: "a" }), item("other", { key: "b" }));
    const held = await receive();
    const [first, second, other] = ["1", "2", "other"].map((id) => held.find((each) => each.id === id));
    expect.assert(first && second && other && first.shard !== other.shard);
    await receiver.extend?.([second, other], 60_000);
    await clock.advance(1_000);
    expect(lost).toEqual([{ ids: ["1", "2"], reason: "expired" }]);
    const again = await receive();
    expect(again.map(({ id, fence }) => [id, fence])).toEqual([
      ["1", 2n],
      ["2", 2n],
    ]);
  });

  test("a third member takes no more shards than it must, and gives them back when it leaves", async () => {
    const { send, read } = await bench([declared("orders", { ordered: true, shards: 8 })]);
    const members = [await read(billing, ordered), await read(billing, ordered)];
    const round = async () => {
      await send(...keys.map((key) => item(key, { key })));
      return Promise.all(
        members.map(async ({ poll, accept }) => {
          const received = await poll();
          await accept(...received);
          return [...shardsOf(received)];
        }),
      );
    };
    const before = await round();
    expect(before.map(({ length }) => length)).toEqual([4, 4]);
    const third = await read(billing, ordered);
    members.push(third);
    const during = await round();
    expect(during.map(({ length }) => length)).toEqual([3, 3, 2]);
    for (const index of [0, 1]) expect(before[index]).toEqual(expect.arrayContaining(during[index] ?? []));
    await third.receiver.close(calm);
    members.pop();
    const after = await round();
    for (const index of [0, 1]) expect(after[index]).toEqual(expect.arrayContaining(during[index] ?? []));
    expect(after.map(({ length }) => length)).toEqual([4, 4]);
  });

  test("a hold is forgotten when the shard is lost", async () => {
    const { send, read } = await bench([declared("orders", { ordered: true, shards: 2 })]);
    const one = await read(billing, ordered);
    await send(...keys.map((key) => item(key, { key })));
    const first = await one.receive();
    await one.accept(...first);
    const all = [...shardsOf(first)];
    one.receiver.hold?.(all, true);
    const other = await read(billing, ordered);
    await other.receiver.close(calm);
    await send(...keys.map((key) => item(key, { key })));
    expect(shardsOf(await one.poll()).size).toBe(1);
  });

  test("more members than shards: some wait, and take over", async () => {
    const { send, read } = await bench([declared("orders", { ordered: true, shards: 1 })]);
    const one = await read(billing, ordered);
    const other = await read(billing, ordered);
    await send(item("1", { key: "a" }));
    expect(ids(await other.poll())).toBe("");
    const waiting = other.receive();
    await one.receiver.close(calm);
    expect(ids(await waiting)).toBe("1");
  });
});
