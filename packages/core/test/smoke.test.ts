import { memory } from "@sluice/memory";
import { connect, topic, PermanentError } from "@sluice/core";
import { expect, test } from "vitest";
import { z } from "zod";

const Order = topic("orders", {
  schema: z.object({ id: z.string(), n: z.number() }),
  key: (order) => order.id,
});

test("publishes and handles", async () => {
  const bus = await connect(memory());
  const seen: number[] = [];
  let failures = 0;
  await bus.subscribe(Order, { group: "billing", retry: { firstDelay: 1 } }, async (order, context) => {
    if (order.n === 3 && context.message.attempt === 1) {
      failures++;
      throw new Error("once");
    }
    if (order.n === 4) throw new PermanentError("never");
    seen.push(order.n);
  });
  const done = bus.settled(Order, { group: "billing", id: "m5" });
  const dead = bus.settled(Order, { fate: "dead-letter" });
  for (let n = 1; n <= 5; n++) await bus.publish(Order, { id: "a", n }, { id: `m${n}` });
  await done;
  await dead;
  expect(seen).toEqual([1, 2, 3, 5]);
  expect(failures).toBe(1);
  const letters = bus.deadLetters(Order, { group: "billing" });
  expect(await letters.count()).toBe(1);
  const page = await letters.list();
  expect(page.letters[0]?.reason).toBe("permanent");
  const again = bus.settled(Order, { fate: "dead-letter" });
  expect(await letters.redrive()).toEqual({ redriven: 1, kept: 0 });
  await again;
  await bus.drain();
});

test("pulls, batches, broadcasts", async () => {
  const bus = await connect(memory());
  const plain = topic("plain", { groups: ["pull", "batch"] });
  const got: unknown[] = [];
  await bus.subscribe(plain, { broadcast: "watch" }, (payload) => void got.push(payload));
  const consumer = await bus.consumer(plain, { group: "pull" });
  const batches: number[] = [];
  await bus.subscribeBatch(plain, { group: "batch", batch: { size: 3, wait: 5 } }, (items) => {
    batches.push(items.length);
  });
  const results = await bus.producer(plain).sendBatch([1, 2, 3].map((payload) => ({ payload })));
  expect(results.map((result) => result.status)).toEqual(["sent", "sent", "sent"]);
  const pulled: unknown[] = [];
  for await (const delivery of consumer) {
    pulled.push(delivery.payload);
    delivery.done();
    if (pulled.length === 3) break;
  }
  expect(pulled.toSorted((left, right) => Number(left) - Number(right))).toEqual([1, 2, 3]);
  expect(got).toEqual([1, 2, 3]);
  expect(batches.reduce((a, b) => a + b, 0)).toBe(3);
  await bus.drain();
});
