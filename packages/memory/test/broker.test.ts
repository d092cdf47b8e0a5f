import { describe, expect, test } from "vitest";
import { bench, billing, declared, ids, item } from "./support/bench.ts";

describe("the raw client", () => {
  test("writes as a foreign program: no id, no time, no header of ours", async () => {
    const { broker, read } = await bench();
    broker.publish("orders", { body: new Uint8Array([7]), key: "a" });
    const [delivery] = await (await read()).receive();
    expect(delivery).toMatchObject({
      id: undefined,
      time: undefined,
      key: "a",
      body: new Uint8Array([7]),
      headers: {},
    });
  });

  test("watches a topic beside its groups, also one that has none", async () => {
    const { broker, send } = await bench([declared("orders", { groups: [] })]);
    const seen: (string | undefined)[] = [];
    const stop = broker.watch("orders", (record) => {
      seen.push(record.id);
      record.body?.fill(9);
    });
    expect(await send(item("1"))).toEqual(["stored"]);
    stop();
    expect(await send(item("2"))).toEqual(["unroutable"]);
    expect(seen).toEqual(["1"]);
  });

  test("sees what waits, what is handed out and what is dead, and takes nothing", async () => {
    const { broker, send, read } = await bench();
    const own = { topic: "orders", group: "billing" } as const;
    await send(item("1"), item("own", { to: own }), item("2"), item("dead", { to: { ...own, deadLetter: true } }));
    const { receive } = await read();
    await receive(1);
    expect(ids(broker.waiting("orders", "billing"))).toBe("2 own");
    expect(ids(broker.deadLetters("orders", "billing"))).toBe("dead");
    broker.publishDeadLetter("orders", "billing", { body: null });
    expect(broker.depth("orders", "billing")).toEqual({ ready: 2, inFlight: 1, delayed: 0, deadLetters: 2 });
    expect(ids(await receive())).toBe("own 2");
  });

  test("says what is missing", async () => {
    const { broker } = await bench([declared("orders", { groups: [] })]);
    const code = (call: () => unknown) => {
      try {
        call();
        return "none";
      } catch (error) {
        return (error as { readonly code?: unknown }).code;
      }
    };
    expect([
      code(() => broker.publish("nowhere", { body: null })),
      code(() => broker.publish("orders", { body: null })),
      code(() => broker.waiting("orders", billing.group)),
      code(() => broker.watch("nowhere", () => undefined)),
    ]).toEqual(["NOT_FOUND", "UNROUTABLE", "NOT_FOUND", "NOT_FOUND"]);
  });
});
