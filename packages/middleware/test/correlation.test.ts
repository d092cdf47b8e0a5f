import { type Context, type Middleware, type StandardSchema, topic } from "@sluice/core";
import { correlation, correlationOf, type Correlation } from "@sluice/middleware";
import { describe, expect, test } from "vitest";
import { bench, type Bench, Invoices, type Order, Orders } from "./support/bench.ts";

interface Seen extends Correlation {
  readonly id: string;
  readonly header: string | undefined;
}

/** Handlers of both topics; what the first one publishes comes from `publish`. */
async function flow(
  middleware: Middleware,
  publish: (bench: Bench, context: Context) => unknown,
  from?: readonly string[],
) {
  const made = await bench({ middleware });
  const seen: Seen[] = [];
  const note = (context: Context) =>
    seen.push({
      id: context.message.id,
      header: context.message.headers["correlation-id"],
      ...correlationOf(context, from),
    });
  await made.clock.run(
    made.bus.subscribe(Orders, { group: "billing" }, async (_order, context) => {
      note(context);
      await publish(made, context);
    }),
  );
  await made.clock.run(made.bus.subscribe(Invoices, { group: "mail" }, (_order, context) => void note(context)));
  return { ...made, seen };
}

const invoice = (_bench: Bench, context: Context) => context.publish(Invoices, { orderId: "o-1" }, { id: "i-1" });

describe("correlation", () => {
  test("the first message begins the flow, and what its handler publishes is in it", async () => {
    const { bus, clock, seen } = await flow(correlation(), invoice);
    await clock.run(bus.publish(Orders, { orderId: "o-1" }, { id: "m-1" }));
    await clock.run(bus.close());
    expect(seen).toEqual([
      { id: "m-1", header: "m-1", correlationId: "m-1", causationId: undefined },
      { id: "i-1", header: "m-1", correlationId: "m-1", causationId: "m-1" },
    ]);
  });

  test("what the caller sets stays, in both places", async () => {
    const { bus, clock, seen } = await flow(correlation(), (_bench, context) =>
      context.publish(
        Invoices,
        { orderId: "o-1" },
        { id: "i-1", headers: { "correlation-id": "mine", "causation-id": "why" } },
      ),
    );
    await clock.run(bus.publish(Orders, { orderId: "o-1" }, { id: "m-1", headers: { "correlation-id": "flow-7" } }));
    await clock.run(bus.close());
    expect(seen).toMatchObject([
      { correlationId: "flow-7", causationId: undefined },
      { correlationId: "mine", causationId: "why" },
    ]);
  });

  test("through a retry in the group's own entry, a dead letter and a redrive the flow and the cause stay", async () => {
    const { bus, clock } = await bench({ middleware: correlation() });
    const seen: (Correlation & { readonly redrives: number })[] = [];
    let broken = true;
    await clock.run(
      bus.subscribe(
        Orders,
        { group: "billing", retry: { attempts: 2, inPlace: 0, firstDelay: "1s" } },
        (_order, context) => {
          seen.push({ ...correlationOf(context), redrives: context.message.redrives });
          if (broken) throw new Error("not yet");
        },
      ),
    );
    const headers = { "correlation-id": "flow-7", "causation-id": "click-3" };
    await clock.run(bus.publish(Orders, { orderId: "o-1" }, { headers }));
    await clock.until(() => seen.length === 2);
    broken = false;
    const deadLetters = bus.deadLetters(Orders, { group: "billing" });
    await clock.settle();
    await clock.run(deadLetters.redrive());
    await clock.until(() => seen.length === 3);
    await clock.run(bus.close());
    const kept = { correlationId: "flow-7", causationId: "click-3" };
    expect(seen).toEqual([
      { ...kept, redrives: 0 },
      { ...kept, redrives: 0 },
      { ...kept, redrives: 1 },
    ]);
  });

  test("foreign names are read, and go on under ours", async () => {
    const from = ["x-request-id", "x-correlation-id"];
    const { bus, clock, seen } = await flow(correlation({ from }), invoice, from);
    const headers = { "x-correlation-id": "theirs", "x-request-id": "request-1" };
    // As from a foreign producer, which sets no header of ours.
    await clock.run(
      bus.publish(Orders, { orderId: "o-1" }, { id: "m-1", headers: { ...headers, "correlation-id": "" } }),
    );
    await clock.run(bus.close());
    expect(seen).toMatchObject([{ correlationId: "request-1" }, { correlationId: "request-1", causationId: "m-1" }]);
  });

  test.for([
    ["empty", ""],
    ["too long", "x".repeat(257)],
    ["two lines", "a\nb"],
    ["control characters", "a\u0000b"],
  ])("a hostile header is not copied on: %s", async ([, value = ""]) => {
    const { bus, clock, seen } = await flow(correlation(), invoice);
    const headers = { "correlation-id": value, "causation-id": value };
    await clock.run(bus.publish(Orders, { orderId: "o-1" }, { id: "m-1", headers }));
    await clock.run(bus.close());
    expect(seen).toEqual([
      { id: "m-1", header: value, correlationId: "m-1", causationId: undefined },
      { id: "i-1", header: "m-1", correlationId: "m-1", causationId: "m-1" },
    ]);
  });

  test("sendBatch begins a flow per message", async () => {
    const { bus, clock, seen } = await flow(correlation(), () => undefined);
    const entries = ["m-1", "m-2"].map((id) => ({ payload: { orderId: id }, options: { id } }));
    await clock.run(bus.producer(Orders).sendBatch(entries));
    await clock.run(bus.close());
    expect(seen.map(({ correlationId }) => correlationId)).toEqual(["m-1", "m-2"]);
  });
});

describe("ambient correlation", () => {
  const deep = async ({ bus }: Bench) => {
    await Promise.resolve();
    await bus.publish(Invoices, { orderId: "o-1" }, { id: "i-1" });
  };

  test("only if asked: a publish of the bus inside of a handler is in the flow", async () => {
    for (const [options, expected] of [
      [{}, { correlationId: "i-1", causationId: undefined }],
      [{ ambient: true }, { correlationId: "m-1", causationId: "m-1" }],
    ] as const) {
      const { bus, clock, seen } = await flow(correlation(options), deep);
      await clock.run(bus.publish(Orders, { orderId: "o-1" }, { id: "m-1" }));
      await clock.run(bus.close());
      expect(seen[1]).toMatchObject({ id: "i-1", ...expected });
    }
  });

  test("also in a second run here, and at the same time for many messages", async () => {
    const { bus, clock, seen } = await flow(correlation({ ambient: true }), async (made, { message }) => {
      await made.bus.publish(Invoices, { orderId: "o-1" }, { id: `i-${message.id}-${message.attempt}` });
      if (message.attempt === 1) throw new Error("once more");
    });
    const ids = Array.from({ length: 20 }, (_, index) => `m-${index}`);
    await Promise.all(ids.map((id) => clock.run(bus.publish(Orders, { orderId: id }, { id }))));
    await clock.until(() => seen.length === 80);
    await clock.run(bus.close());
    const invoices = seen.filter(({ id }) => id.startsWith("i-"));
    expect(
      invoices.map(({ id, causationId }) => [causationId, id.replace(/^i-|-\d$/g, "")]).every(([a, b]) => a === b),
    ).toBe(true);
    expect(invoices).toHaveLength(40);
  });

  test("each caller has its own, also where one publish lets the next one go", async () => {
    const made = await bench({ middleware: correlation({ ambient: true }) });
    const { bus, clock } = made;
    // The first check takes longest: the second publish begins when the first one does.
    const validate = (value: unknown) =>
      new Promise<{ value: Order }>((resolve) => {
        const order = value as Order;
        void clock.runtime.timer(order.orderId === "m-1" ? 1000 : 10, () => resolve({ value: order }));
      });
    const schema: StandardSchema<Order> = { "~standard": { version: 1, vendor: "test", validate } };
    const Slow = topic("slow", { schema, groups: ["mail"] });
    const seen: string[] = [];
    await clock.run(
      bus.subscribe(Orders, { group: "billing" }, async ({ orderId }) => void (await bus.publish(Slow, { orderId }))),
    );
    await clock.run(
      bus.subscribe(Slow, { group: "mail" }, ({ orderId }, context) => {
        seen.push(`${orderId} by ${correlationOf(context).causationId}`);
      }),
    );
    for (const id of ["m-1", "m-2"]) await clock.run(bus.publish(Orders, { orderId: id }, { id }));
    await clock.until(() => seen.length === 2);
    await clock.run(bus.close());
    expect(new Set(seen)).toEqual(new Set(["m-1 by m-1", "m-2 by m-2"]));
  });

  test("not in a batch handler, whose messages are of several flows", async () => {
    const made = await bench({ middleware: correlation({ ambient: true }) });
    const { bus, clock } = made;
    const seen: Correlation[] = [];
    await clock.run(bus.subscribeBatch(Orders, { group: "billing", batch: { size: 1 } }, () => deep(made)));
    await clock.run(
      bus.subscribe(Invoices, { group: "mail" }, (_order, context) => void seen.push(correlationOf(context))),
    );
    await clock.run(bus.publish(Orders, { orderId: "o-1" }, { id: "m-1" }));
    await clock.until(() => seen.length === 1);
    await clock.run(bus.close());
    expect(seen).toEqual([{ correlationId: "i-1", causationId: undefined }]);
  });
});

test("correlationOf needs no middleware, and explain shows where it stands", async () => {
  const { bus, clock } = await bench({ middleware: correlation({ ambient: true }) });
  const subscription = await clock.run(bus.subscribe(Orders, { group: "billing" }, () => undefined));
  expect(subscription.explain()).toContain("chain: retry and dead letter > correlation > handler");
  await clock.run(bus.close());
});
