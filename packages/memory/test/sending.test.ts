import { describe, expect, test } from "vitest";
import { MemoryBroker } from "@sluice/memory";
import { bench, billing, calm, declared, group, ids, item } from "./support/bench.ts";

describe("sending", () => {
  test("sending to nobody is never a success", async () => {
    const { send } = await bench([
      declared("orders", { groups: [group("billing", { retry: false, deadLetter: false })] }),
      declared("unread", { groups: [] }),
    ]);
    expect(
      await send(
        item("1", { to: { topic: "nowhere" } }),
        item("2", { to: { topic: "unread" } }),
        item("3", { to: { topic: "orders", group: "nobody" } }),
        item("4", { to: { topic: "orders", group: "billing" } }),
        item("5", { to: { topic: "orders", group: "billing", deadLetter: true } }),
      ),
    ).toEqual(["not-stored", "unroutable", "unroutable", "unroutable", "unroutable"]);
  });

  test("after the first failure of a key nothing later of it is stored", async () => {
    const { send, read } = await bench(undefined, { limits: { messageBytes: 4 } });
    const large = new Uint8Array(5);
    expect(
      await send(
        item("1", { key: "a" }),
        item("2", { key: "a", body: large }),
        item("3", { key: "a" }),
        item("4", { key: new Uint8Array([97]) }),
        item("b", { key: "b" }),
        item("5", { body: large }),
        item("6"),
      ),
    ).toEqual(["stored", "not-stored", "not-stored", "not-stored", "stored", "not-stored", "stored"]);
    expect(ids(await (await read()).receive())).toBe("1 b 6");
  });

  test.each([
    ["body", { body: new Uint8Array(101) }, "TOO_LARGE", /101 body bytes.*100/],
    ["headers", { headers: { a: "1", b: "2", c: "3" } }, "INVALID_MESSAGE", /3 headers.*2/],
    ["header name", { headers: { abcdéé: "1" } }, "INVALID_MESSAGE", /8 bytes of a header name.*7/],
    ["header bytes", { headers: { a: "x".repeat(50) } }, "TOO_LARGE", /51 bytes of headers.*50/],
    ["key", { key: "ééé" }, "INVALID_MESSAGE", /6 key bytes.*5/],
    ["delay", { notBefore: Date.UTC(2026, 0, 1) + 1_001 }, "INVALID_MESSAGE", /1001 milliseconds of delay.*1000/],
  ])("a limit of the %s is kept, with both numbers", async (_name, options, code, message) => {
    const { connection } = await bench(undefined, {
      limits: { messageBytes: 100, headers: 2, headerNameBytes: 7, headersBytes: 50, keyBytes: 5, delayMs: 1_000 },
    });
    const [result] = await (await connection.sender()).send([item("1", options)], calm);
    expect(result).toMatchObject({ outcome: "not-stored", error: { code, message: expect.stringMatching(message) } });
  });

  test("the sender's memory is not kept: it may be written to after the call", async () => {
    const { send, read } = await bench();
    const body = Buffer.from([1, 2, 3]);
    const headers: Record<string, string> = { a: "1" };
    Object.defineProperty(headers, "__proto__", { value: "2", enumerable: true });
    const sent = send(item("1", { body, headers, key: body }));
    body.fill(0);
    headers.a = "2";
    await sent;
    const [delivery] = await (await read()).receive();
    expect(Object.entries(delivery?.headers ?? {})).toEqual([
      ["a", "1"],
      ["__proto__", "2"],
    ]);
    expect(delivery).toMatchObject({
      body: new Uint8Array([1, 2, 3]),
      headers: { a: "1" },
      key: new Uint8Array([1, 2, 3]),
    });
  });

  test("null and empty bodies and keys stay what they are", async () => {
    const { send, read } = await bench();
    const empty = new Uint8Array(0);
    await send(item("1", { body: null, key: "" }), item("2", { body: empty, key: empty }));
    const [first, second] = await (await read()).receive();
    expect([first?.body, first?.key, second?.body, second?.key]).toEqual([null, "", empty, empty]);
  });

  test("nobody sees a record before it is due", async () => {
    const { clock, send, read } = await bench([declared("orders", { groups: [group("billing"), group("shipping")] })]);
    const dueMs = clock.now() + 60_000;
    await send(
      item("all", { notBefore: dueMs }),
      item("own", { notBefore: dueMs - 1, to: { topic: "orders", group: "billing" } }),
      item("past", { notBefore: clock.now() - 1 }),
    );
    const one = await read();
    const past = await one.receive();
    expect(ids(past)).toBe("past");
    await one.accept(...past);
    await clock.advance(59_998);
    expect(ids(await one.poll())).toBe("");
    await clock.advance(1);
    expect(ids(await one.poll())).toBe("own");
    await clock.advance(1);
    expect(ids(await one.poll())).toBe("all");
    expect(ids(await (await read({ ...billing, group: "shipping" })).receive())).toBe("past all");
  });

  test("records that are due at the same time arrive in the order of sending", async () => {
    const { clock, send, read } = await bench();
    const all = Array.from({ length: 20 }, (_, index) => `${index}`);
    await send(...all.map((id) => item(id, { notBefore: clock.now() + 10 })));
    await clock.advance(10);
    expect(ids(await (await read()).receive())).toBe(all.join(" "));
  });

  test("a delay goes on while nobody is connected", async () => {
    const broker = new MemoryBroker();
    const { clock, send, connect, connection, read } = await bench(undefined, { broker });
    await send(item("1", { notBefore: clock.now() + 1_000 }));
    await connection.close(calm);
    expect(clock.timers).toBe(0);
    await clock.advance(5_000);
    expect(ids(await (await read(billing, {}, await connect())).receive())).toBe("1");
  });

  test("an aborted call stores nothing, a closed sender neither", async () => {
    const { connection } = await bench();
    const sender = await connection.sender();
    expect(await sender.send([item("1")], AbortSignal.abort())).toMatchObject([
      { outcome: "not-stored", error: { code: "ABORTED" } },
    ]);
    await sender.close(calm);
    await sender.close(calm);
    expect(await sender.closed).toBeUndefined();
    expect(await sender.send([item("1")], calm)).toMatchObject([{ outcome: "not-stored", error: { code: "LOST" } }]);
    expect((await connection.backlog(billing, calm)).ready).toBe(0);
  });

  test("an answer that a cut connection cannot give is 'unknown'", async () => {
    const { connection, broker } = await bench();
    const sender = await connection.sender();
    const answer = sender.send([item("1"), item("2", { to: { topic: "nowhere" } })], calm);
    broker.disconnect();
    expect(await answer).toMatchObject([{ outcome: "unknown" }, { outcome: "not-stored" }]);
    expect(broker.depth("orders", "billing").ready).toBe(1);
    expect(await sender.closed).toMatchObject({ code: "UNAVAILABLE" });
  });
});
