import { beforeEach, describe, expect, test } from "vitest";
import { bench, Invoices, Orders } from "./support/bench.ts";
import { registerSdk } from "./support/sdk.ts";

const sdk = registerSdk();
beforeEach(() => sdk.reset());

const common = {
  "messaging.system.name": "sluice.memory",
  "messaging.destination.name": "orders",
  "messaging.client.id": "svc",
};
const send = { ...common, "messaging.operation.name": "send", "messaging.operation.type": "send" };
const process = {
  ...common,
  "messaging.operation.name": "process",
  "messaging.operation.type": "process",
  "messaging.consumer.group.name": "billing",
};

describe("golden spans", () => {
  test("one message, one handler: the message carries the trace of its send span", async () => {
    const { bus, clock } = await bench();
    let traceparent: string | undefined;
    await clock.run(
      bus.subscribe(
        Orders,
        { group: "billing" },
        (_order, { message }) => void (traceparent = message.headers["traceparent"]),
      ),
    );
    const headers = { "correlation-id": "c-1" };
    await clock.run(bus.publish(Orders, { orderId: "o-1" }, { id: "m-1", headers }));
    await clock.run(bus.close());
    const message = { "messaging.message.id": "m-1", "messaging.message.conversation_id": "c-1" };
    expect(sdk.spans()).toEqual([
      { name: "send orders", kind: "PRODUCER", parent: undefined, links: [], attributes: { ...send, ...message } },
      {
        name: "process orders",
        kind: "CONSUMER",
        parent: "send orders",
        links: [{ to: "send orders" }],
        attributes: { ...process, ...message },
      },
    ]);
    const first = sdk
      .finished()
      .find(({ name }) => name === "send orders")
      ?.spanContext();
    expect(traceparent).toBe(`00-${first?.traceId}-${first?.spanId}-01`);
  });

  test("a batch: a create span per message, one send span; a batch handler: one span with a link per message", async () => {
    const { bus, clock } = await bench();
    await clock.run(
      bus.subscribeBatch(Orders, { group: "billing", batch: { size: 2 } }, async (items) => {
        await items[0]?.context.publish(Invoices, "i-1", { id: "i-1" });
      }),
    );
    const entries = ["m-1", "m-2"].map((id) => ({ payload: { orderId: id }, options: { id } }));
    await clock.run(bus.producer(Orders).sendBatch(entries));
    await clock.run(bus.close());
    const create = { ...send, "messaging.operation.name": "create", "messaging.operation.type": "create" };
    const ids = ["m-1", "m-2"].map((id) => ({ "messaging.message.id": id }));
    const spans = sdk.spans();
    expect(spans.slice(0, 3)).toEqual([
      {
        name: "send orders",
        kind: "CLIENT",
        parent: undefined,
        links: [{ to: "create orders" }, { to: "create orders" }],
        attributes: { ...send, "messaging.batch.message_count": 2 },
      },
      ...ids.map((id) => ({
        name: "create orders",
        kind: "PRODUCER",
        parent: undefined,
        links: [],
        attributes: { ...create, ...id },
      })),
    ]);
    expect(spans[3]).toEqual({
      name: "process orders",
      kind: "CONSUMER",
      parent: undefined,
      links: ids.map((attributes) => ({ to: "create orders", attributes })),
      attributes: { ...process, "messaging.batch.message_count": 2 },
    });
    expect(spans[4]).toMatchObject({ name: "send invoices", parent: "process orders" });
    expect(spans).toHaveLength(5);
  });

  test("without create spans all messages of a batch carry the send span; a message that fails tells on it", async () => {
    const { bus, clock } = await bench({ createSpans: false });
    const seen: (string | undefined)[] = [];
    await clock.run(
      bus.subscribe(
        Orders,
        { group: "billing" },
        (_order, { message }) => void seen.push(message.headers["traceparent"]),
      ),
    );
    const payload = { orderId: "o-1" };
    const refused = { payload, options: { headers: { "bad name": "" } } };
    await clock.run(bus.producer(Orders).sendBatch([{ payload }, { payload }, refused]));
    await clock.run(bus.close());
    const [sent] = sdk.spans();
    expect(sent).toMatchObject({ kind: "PRODUCER", links: [], attributes: { "error.type": "INVALID_MESSAGE" } });
    expect(sent?.error).toContain("bad name");
    expect(seen).toHaveLength(2);
    expect(new Set(seen).size).toBe(1);
  });

  test("retry, dead letter and redrive: every run and every move links to where the message was made, in its trace", async () => {
    const { bus, clock } = await bench();
    let broken = true;
    const retry = { attempts: 2, firstDelay: "10s", inPlace: 0 } as const;
    await clock.run(
      bus.subscribe(Orders, { group: "billing", retry }, () => {
        if (broken) throw new TypeError("no such customer");
      }),
    );
    await clock.run(bus.publish(Orders, { orderId: "o-1" }, { id: "m-1" }));
    await clock.advance(60_000);
    broken = false;
    expect(await clock.run(bus.deadLetters(Orders, { group: "billing" }).redrive())).toMatchObject({ redriven: 1 });
    await clock.advance(60_000);
    await clock.run(bus.close());
    const spans = sdk.spans();
    const move = (name: string) => ({ "sluice.move": name });
    const failed = { error: "no such customer" };
    expect(
      spans.map(({ name, attributes, error }) => ({ name, attributes, ...(error !== undefined && { error }) })),
    ).toEqual([
      { name: "send orders", attributes: { ...send, "messaging.message.id": "m-1" } },
      {
        name: "process orders",
        attributes: { ...process, "messaging.message.id": "m-1", "error.type": "TypeError" },
        ...failed,
      },
      { name: "send orders", attributes: { ...process, ...send, "messaging.message.id": "m-1", ...move("retry") } },
      {
        name: "process orders",
        attributes: { ...process, "messaging.message.id": "m-1", "sluice.attempt": 2, "error.type": "TypeError" },
        ...failed,
      },
      {
        name: "send orders",
        attributes: {
          ...process,
          ...send,
          "messaging.message.id": "m-1",
          ...move("dead-letter"),
          "sluice.dead_letter.reason": "exhausted",
        },
      },
      { name: "send orders", attributes: { ...process, ...send, "messaging.message.id": "m-1", ...move("redrive") } },
      { name: "process orders", attributes: { ...process, "messaging.message.id": "m-1", "sluice.redrives": 1 } },
    ]);
    const [first] = sdk.finished();
    for (const span of sdk.finished().slice(1)) {
      expect(span.spanContext().traceId).toBe(first?.spanContext().traceId);
      expect(span.parentSpanContext?.spanId).toBe(first?.spanContext().spanId);
      expect(span.links.map((link) => link.context.spanId)).toEqual([first?.spanContext().spanId]);
    }
  });
});
