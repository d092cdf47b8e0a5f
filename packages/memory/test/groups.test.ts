import { describe, expect, test } from "vitest";
import { memory, MemoryBroker } from "@sluice/memory";
import { bench, billing, calm, declared, group, ids, item } from "./support/bench.ts";

describe("groups", () => {
  test("each group gets every record, with its own copy of the body", async () => {
    const { send, read } = await bench([declared("orders", { groups: [group("billing"), group("shipping")] })]);
    const one = await read();
    const other = await read({ ...billing, group: "shipping" });
    await send(item("1"), item("2"));
    const [first] = await one.receive();
    first?.body?.fill(9);
    const received = await other.receive();
    expect(ids(received)).toBe("1 2");
    expect(received[0]?.body).toEqual(new Uint8Array([1]));
  });

  test("members of a group share its records", async () => {
    const { send, read, clock } = await bench();
    const one = await read();
    const other = await read();
    const waiting = Promise.all([one.receive(), other.receive()]);
    await clock.settle();
    await send(item("1"), item("2"), item("3"), item("4"));
    const [left, right] = await waiting;
    expect(new Set([...left, ...right].map(({ id }) => id))).toEqual(new Set(["1", "2", "3", "4"]));
    expect(left.length).toBe(2);
  });

  test("a group keeps what is sent while nobody reads", async () => {
    const { send, read } = await bench();
    await send(item("1"));
    const first = await read();
    await first.receiver.close(calm);
    await send(item("2"));
    expect(ids(await (await read()).receive())).toBe("1 2");
  });

  test("a group that begins with 'earliest' gets what was sent before it existed", async () => {
    const { send, read, connection } = await bench();
    await send(item("1"), item("2", { to: { topic: "orders", group: "billing" } }));
    const late = declared("orders", { groups: [group("audit", { start: "earliest" }), group("alerts")] });
    await connection.provision(memory().topology({ topics: [late] }), "create", calm);
    await send(item("3"));
    expect(ids(await (await read({ ...billing, group: "audit" })).receive())).toBe("1 3");
    expect(ids(await (await read({ ...billing, group: "alerts" })).receive())).toBe("3");
  });

  test.each([
    ["records", { historyRecords: 2 }, "2 3"],
    ["bytes", { historyBytes: 2 }, "2 3"],
    ["nothing", { historyRecords: 0 }, ""],
  ])("the history is bounded by %s", async (_name, options, expected) => {
    const { send, read, connection } = await bench(undefined, { broker: new MemoryBroker(options) });
    await send(item("1"), item("2"), item("3"));
    const late = declared("orders", { groups: [group("audit", { start: "earliest" })] });
    await connection.provision(memory().topology({ topics: [late] }), "create", calm);
    expect(ids(await (await read({ ...billing, group: "audit" })).poll())).toBe(expected);
  });

  test("a long queue is read in order to its end", async () => {
    const { send, read } = await bench();
    const all = Array.from({ length: 1_500 }, (_, index) => `${index}`);
    for (let from = 0; from < all.length; from += 500) await send(...all.slice(from, from + 500).map((id) => item(id)));
    const { poll, accept } = await read();
    const seen: string[] = [];
    for (let batch = await poll(); batch.length > 0; batch = await poll()) {
      seen.push(...batch.map(({ id = "" }) => id));
      await accept(...batch);
    }
    expect(seen).toEqual(all);
  });

  test("topic and own entry take turns while both wait", async () => {
    const { send, read } = await bench();
    const to = { topic: "orders", group: "billing" } as const;
    await send(item("t1"), item("t2"), item("t3"), item("o1", { to }), item("o2", { to }), item("t4"));
    expect(ids(await (await read()).receive())).toBe("t1 o1 t2 o2 t3 t4");
  });

  test("the own entry is seen by its group only", async () => {
    const { send, read } = await bench([declared("orders", { groups: [group("billing"), group("shipping")] })]);
    await send(item("1", { to: { topic: "orders", group: "billing" } }));
    expect(ids(await (await read({ ...billing, group: "shipping" })).poll())).toBe("");
    expect(ids(await (await read()).receive())).toBe("1");
  });

  test("sources of one receiver take turns", async () => {
    const { send, read } = await bench([declared("orders"), declared("refunds")]);
    await send(item("o1"), item("o2"), item("o3"), item("r1", { to: { topic: "refunds" } }));
    const { receive } = await read([billing, { ...billing, topic: "refunds" }]);
    expect(ids(await receive())).toBe("o1 r1 o2 o3");
  });

  test("higher priority first, then the order of arrival", async () => {
    const { send, read } = await bench();
    await send(item("1"), item("2", { priority: 9 }), item("3", { priority: 4 }), item("4", { priority: 9 }));
    expect(ids(await (await read()).receive())).toBe("2 4 3 1");
  });

  test("priority never reorders an ordered topic", async () => {
    const { send, read } = await bench([declared("orders", { ordered: true })]);
    await send(item("1", { key: "a" }), item("2", { key: "a", priority: 9 }));
    expect(ids(await (await read(billing, { ordered: true })).receive())).toBe("1 2");
  });

  test("a filter lets only matching records in, also of those that wait already", async () => {
    const { send, read, connection } = await bench();
    const records = ["eu-west", "us-east"].map((region) => item(region, { headers: { region, kind: "a", team: "x" } }));
    const others = [
      { kind: "a", team: "x" },
      { region: "eu-1", kind: "c", team: "x" },
      { region: "eu-1", kind: "a", team: "y" },
    ];
    records.push(...others.map((headers) => item("other", { headers })));
    await send(...records);
    const { receive } = await read({ ...billing, filter: { region: { prefix: "eu-" }, kind: ["a", "b"], team: "x" } });
    await send(...records);
    expect((await connection.backlog(billing, calm)).ready).toBe(2);
    expect(ids(await receive())).toBe("eu-west eu-west");
  });
});

describe("broadcast", () => {
  const instance = (name: string) => ({ topic: "orders", broadcast: "cache", instance: name });

  test("every open instance gets every record that is sent while it is open", async () => {
    const { send, read } = await bench();
    const one = await read(instance("1"));
    const other = await read(instance("2"));
    await send(item("1"));
    expect(ids(await one.receive())).toBe("1");
    await other.receiver.close(calm);
    await send(item("2"));
    expect(ids(await one.receive())).toBe("2");
    expect(ids(await (await read(instance("2"))).poll())).toBe("");
  });

  test("a topic that only instances read is unroutable once they are closed", async () => {
    const { send, read } = await bench([declared("orders", { groups: [] })]);
    const { receiver } = await read(instance("1"));
    expect(await send(item("1"))).toEqual(["stored"]);
    await receiver.close(calm);
    expect(await send(item("2"))).toEqual(["unroutable"]);
  });

  test("an instance that was cut off learns how much it missed", async () => {
    const { send, read, broker, connect, events } = await bench();
    const cut = await connect("cut");
    await read(instance("1"), {}, cut);
    expect(broker.disconnect("cut")).toBe(1);
    await send(item("1"), item("2"));
    const again = await read(instance("1"));
    expect(events).toMatchObject([{ kind: "gap", count: 2 }]);
    await again.receiver.close(calm);
    await send(item("3"));
    await read(instance("1"));
    expect(events.length).toBe(1);
  });
});
