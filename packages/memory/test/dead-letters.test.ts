import { describe, expect, test } from "vitest";
import { bench, billing, calm, ids, item } from "./support/bench.ts";

const source = { topic: "orders", group: "billing", deadLetter: true } as const;
const dead = (id: string) => item(id, { to: source });

describe("dead letters", () => {
  test("a reader gets what was there when it was opened, and then the end", async () => {
    const { send, read, connection } = await bench();
    await send(dead("1"), dead("2"));
    const { receiver, accept, release } = await read(source);
    await send(dead("3"));
    const received = (await receiver.receive(10, calm)) ?? [];
    expect(ids(received)).toBe("1 2");
    const [first, second] = received;
    expect.assert(first && second);
    await accept(first);
    await release("returned", second);
    expect(await receiver.receive(10, calm)).toBeUndefined();
    await receiver.close(calm);
    expect(await connection.backlog(source, calm)).toMatchObject({ ready: 2, inFlight: 0 });
    const again = await read(source);
    expect(ids(await again.receive())).toBe("2 3");
  });

  test("two readers never hold the same one; an empty list ends at once", async () => {
    const { send, read } = await bench();
    await send(dead("1"), dead("2"), dead("3"));
    const one = await read(source);
    expect(ids(await one.receive(2))).toBe("1 2");
    const other = await read(source);
    expect(ids(await other.receive())).toBe("3");
    expect(await (await read(source)).receiver.receive(10, calm)).toBeUndefined();
  });

  test("browse lists page by page and takes nothing", async () => {
    const { send, connection } = await bench();
    await send(...Array.from({ length: 5 }, (_, index) => dead(`${index + 1}`)));
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page = await connection.browse?.(source, after, 2, calm);
      seen.push(ids(page?.deliveries ?? []));
      after = page?.next;
    } while (after !== undefined);
    expect(seen).toEqual(["1 2", "3 4", "5"]);
    expect(await connection.backlog(source, calm)).toMatchObject({ ready: 5, inFlight: 0, delayed: 0 });
    await expect(connection.browse?.(billing, undefined, 1, calm)).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });

  test("many are removed without slowing down or losing one", async () => {
    const { send, read, broker } = await bench();
    const all = Array.from({ length: 500 }, (_, index) => `${index}`);
    await send(...all.map(dead));
    const { receive, accept } = await read(source, { window: 1_000 });
    const held = await receive(500);
    await accept(...held.filter((_, index) => index % 5 > 0));
    expect(broker.depth("orders", "billing").deadLetters).toBe(100);
    expect(broker.deadLetters("orders", "billing")).toEqual([]);
    await (await read(source)).receiver.close(calm);
    expect(await receive()).toEqual([]);
    expect(broker.depth("orders", "billing").deadLetters).toBe(100);
  });

  test("what strings cannot hold survives the move", async () => {
    const { send, read, broker } = await bench();
    const trace = new Uint8Array([0xff, 0x00]);
    broker.publish("orders", { body: null, key: trace, headers: { a: "1" }, binaryHeaders: { trace } });
    const [foreign] = await (await read()).receive();
    expect(foreign).toMatchObject({ id: undefined, body: null, key: trace, native: { binaryHeaders: { trace } } });
    expect.assert(foreign);
    await send(item("new", { to: source, body: foreign.body, key: foreign.key, from: foreign }));
    expect(broker.deadLetters("orders", "billing")).toMatchObject([
      { id: "new", body: null, binaryHeaders: { trace } },
    ]);
  });
});
