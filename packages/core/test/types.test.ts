import { type Bus, type Context, connect, type InputOf, json, type OutputOf, outcome, text, topic } from "@sluice/core";
import type { Capabilities } from "@sluice/core/driver";
import { memory, type MemoryBroker } from "@sluice/memory";
import { expectTypeOf, test } from "vitest";
import { z } from "zod";

const Dated = topic("dated", {
  schema: z.object({ at: z.string().transform((text) => new Date(text)) }),
  key: (value) => {
    expectTypeOf(value).toEqualTypeOf<{ at: Date }>();
    return value.at.toISOString();
  },
});
const Plain = topic("plain");

type Careless = Bus<
  Capabilities & { delivery: "at-most-once"; group: "absent"; broadcast: "native"; transactions: "absent" }
>;
type Lacking = Bus<
  Capabilities & { priority: "absent"; delay: { group: "native"; topic: "absent" }; transactions: "absent" }
>;

test("input and output types of a schema are both carried", () => {
  expectTypeOf<InputOf<typeof Dated>>().toEqualTypeOf<{ at: string }>();
  expectTypeOf<OutputOf<typeof Dated>>().toEqualTypeOf<{ at: Date }>();
  expectTypeOf(Dated.name).toEqualTypeOf<"dated">();
});

test("without a schema the codec says the type", () => {
  const Note = topic("notes", { codec: text() });
  expectTypeOf<InputOf<typeof Note>>().toEqualTypeOf<string>();
  expectTypeOf<OutputOf<typeof Note>>().toEqualTypeOf<string>();
  // A codec that takes anything says nothing about the type.
  const Order = topic("orders", { schema: z.object({ id: z.string() }), codec: json() });
  expectTypeOf<InputOf<typeof Order>>().toEqualTypeOf<{ id: string }>();
  expectTypeOf<InputOf<ReturnType<typeof typed>>>().toEqualTypeOf<{ n: number }>();
});

function typed() {
  return topic<{ n: number }>("typed");
}

// Never called: what must and must not compile.
export async function compiles(lacking: Lacking, careless: Careless): Promise<void> {
  const bus = await connect(memory());
  expectTypeOf(bus.native).toEqualTypeOf<MemoryBroker | undefined>();

  await bus.publish(Dated, { at: "2026-01-01" }, { delay: "5m", priority: 3 });
  // @ts-expect-error the input is a text
  await bus.publish(Dated, { at: new Date() });
  // @ts-expect-error bare seconds have no unit
  await bus.publish(Plain, 1, { delay: "5" });
  // @ts-expect-error this broker has no delayed publish
  await lacking.publish(Plain, 1, { delay: "5m" });
  // @ts-expect-error this broker has no priority
  await lacking.publish(Plain, 1, { priority: 1 });

  await bus.subscribe(Dated, { group: "g" }, (value, context) => {
    expectTypeOf(value).toEqualTypeOf<{ at: Date }>();
    expectTypeOf(context.message.attempt).toEqualTypeOf<number>();
    expectTypeOf(context.native).not.toBeAny();
    return context.retry({ delay: "5m" });
  });
  await bus.subscribe([Dated, Plain], { group: "g" }, (event) => {
    if (event.topic === "dated") expectTypeOf(event.payload).toEqualTypeOf<{ at: Date }>();
    else {
      expectTypeOf(event.topic).toEqualTypeOf<"plain">();
      expectTypeOf(event.payload).toBeUnknown();
    }
  });
  await careless.publish(Plain, 1, { delivery: "at-most-once" });
  await careless.producer(Plain).sendBatch([{ payload: 1 }], { delivery: "at-most-once" });
  await careless.subscribe(Plain, { broadcast: "b", delivery: "at-most-once" }, () => {});
  // @ts-expect-error who may lose messages has to say so
  await careless.publish(Plain, 1);
  // @ts-expect-error who may lose messages has to say so
  await careless.producer(Plain).sendBatch([{ payload: 1 }]);
  // @ts-expect-error who may lose messages has to say so
  await careless.subscribe(Plain, { broadcast: "b" }, () => {});
  // @ts-expect-error this broker has no groups
  await careless.subscribe(Plain, { group: "g", delivery: "at-most-once" }, () => {});
  await bus.publish(Plain, 1, { delivery: "at-most-once" });
  await bus.subscribe(Plain, { group: "g", transactional: true }, () => {});
  // @ts-expect-error this broker has no transactions
  await lacking.subscribe(Plain, { group: "g", transactional: true }, () => {});

  // @ts-expect-error neither group nor broadcast
  await bus.subscribe(Plain, {}, () => {});
  // @ts-expect-error both
  await bus.subscribe(Plain, { group: "g", broadcast: "b" }, () => {});
  // @ts-expect-error a broadcast has no dead letter
  await bus.subscribe(Plain, { broadcast: "b", deadLetter: true }, () => {});
  // @ts-expect-error a broadcast begins now
  await bus.subscribe(Plain, { broadcast: "b", start: "earliest" }, () => {});
  // @ts-expect-error a handler gives an outcome or nothing
  await bus.subscribe(Plain, { group: "g" }, () => ({ kind: "retry" }));
  await bus.subscribe(Plain, { group: "g" }, () => outcome.drop("why"));
  await bus.subscribe(Plain, { group: "g" }, async (_payload, context: Context) => {
    await context.publish(Dated, { at: "now" });
  });
}
