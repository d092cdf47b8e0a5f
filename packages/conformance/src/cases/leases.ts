import assert from "node:assert/strict";
import type { Connection, Delivery, Receiver } from "@sluice/core/driver";
import { type Case, defineCase } from "../case.ts";
import { monotonicMs, pause, within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { conserve, depth, effects, publishAll, quickRetry, subscribe } from "../flow.ts";
import { makeItems } from "../payload.ts";
import { acceptAll, prepare, receiverOf, take } from "../seam.ts";
import { needs } from "./needs.ts";

/** Leases, windows and concurrency: how much is held, and for how long. */
export const leases: readonly Case[] = [
  defineCase({
    id: "AK-11",
    title: "A lease that runs out makes the message deliverable again",
    rule: "An unsettled, unprolonged delivery comes to the next holder when its lease ends, and the first holder is told.",
    required: false,
    profile: "standard",
    needs: needs.lease,
    run: (context) =>
      expire(context, async ({ context, connection, topic, lease }) => {
        const next = await receiverOf(context, connection, topic, "g");
        const [again] = await take(next, 1, lease + context.limits().idleMs);
        assert.ok(again, "the message came again");
        if (context.facts.capabilities.deliveries !== "absent") assert.equal(again.deliveries, 2);
        await context.journal.until("the first holder is told", context.limits(), () =>
          context.journal.events.some((event) => event.event === "settle-lost"),
        );
        await acceptAll(next, [again]);
      }),
  }),
  defineCase({
    id: "AK-12",
    title: "The holder of an expired lease can no longer settle",
    rule: "A settlement after the lease was lost answers lost; the new holder's counts.",
    required: false,
    profile: "standard",
    needs: needs.lease,
    run: (context) =>
      expire(context, async ({ context, connection, topic, lease, receiver, delivery }) => {
        const next = await receiverOf(context, connection, topic, "g");
        const [again] = await take(next, 1, lease + context.limits().idleMs);
        assert.ok(again, "the message came again");
        assert.deepEqual(await receiver.settle([{ delivery, accept: true }]), ["lost"]);
        await next.settle([{ delivery: again, accept: false, release: "failed" }]);
        const [third] = await take(next, 1, lease + context.limits().idleMs);
        assert.ok(third, "the stale settlement took the message away from its new holder");
        await acceptAll(next, [third]);
      }),
  }),
  defineCase({
    id: "AK-13",
    title: "A handler may run longer than the lease",
    rule: "The lease of a running handler is prolonged: no other member gets the message meanwhile.",
    required: false,
    profile: "standard",
    needs: needs.renewal,
    async run(context) {
      const lease = context.facts.lease?.ms ?? 0;
      const topic = context.topic({ groups: ["g"] });
      const buses = await Promise.all([context.connect(), context.connect()]);
      const started = monotonicMs();
      const hold = Promise.withResolvers<void>();
      for (const bus of buses) await subscribe(context, bus, topic, { group: "g" }, () => hold.promise);
      const [bus] = buses;
      assert.ok(bus);
      await publishAll(context, bus, topic, makeItems(context.run, 4, { keys: 4 }));
      await pause(Math.max(0, started + 2.2 * lease - monotonicMs())); // The lease itself is what is measured.
      hold.resolve();
      await effects(context, topic, "g", 4);
      await Promise.all(buses.map((each) => each.drain({ deadline: 5_000 })));
      assert.equal(context.journal.total("handler-start", topic.name, "g"), 4, context.journal.tail());
      await conserve(context, topic, "g");
    },
  }),
  defineCase({
    id: "AK-14",
    title: "Prolonging a lost lease reports the loss",
    rule: "extend resolves to the deliveries whose lease is lost.",
    required: false,
    profile: "standard",
    needs: needs.renewal,
    run: (context) =>
      expire(context, async ({ context, connection, topic, lease, receiver, delivery }) => {
        const next = await receiverOf(context, connection, topic, "g");
        const [again] = await take(next, 1, lease + context.limits().idleMs);
        assert.ok(again);
        assert.deepEqual(await receiver.extend?.([delivery], lease), [delivery]);
        assert.deepEqual(await next.extend?.([again], lease), []);
        await acceptAll(next, [again]);
      }),
  }),
  defineCase({
    id: "G-16",
    title: "A receiver never holds more than its window",
    rule: "Buffered, handed out and unsettled together stay within the window; settling makes room.",
    required: false,
    profile: "standard",
    async run(context) {
      const { connection, topic } = await prepare(
        context,
        Array.from({ length: 30 }, (_, index) => `m${index}`),
      );
      const receiver = await receiverOf(context, connection, topic, "g", { window: 5 });
      const first = await take(receiver, 5, context.limits().idleMs);
      assert.equal(first.length, 5);
      const watch = Math.min(300, (context.facts.lease?.ms ?? Infinity) / 2);
      assert.deepEqual(await take(receiver, 1, watch), [], "a sixth record although five are unsettled");
      await acceptAll(receiver, first);
      let left = 25;
      while (left > 0) {
        const more = await take(receiver, Math.min(5, left), context.limits().idleMs);
        assert.ok(more.length > 0, `nothing came although ${left} wait and all before are settled`);
        await acceptAll(receiver, more);
        left -= more.length;
      }
      await depth(context, topic, "g", 0);
    },
  }),
  defineCase({
    id: "CC-01",
    title: "As many handlers run at once as asked for, and never more",
    rule: "concurrency is reached and not exceeded.",
    required: false,
    profile: "standard",
    groupless: true,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic();
      let running = 0;
      let most = 0;
      const ten = Promise.withResolvers<void>();
      await subscribe(context, bus, topic, { group: "g", concurrency: 10, retry: quickRetry }, async () => {
        most = Math.max(most, ++running);
        if (running === 10) ten.resolve();
        await within(context.limits().idleMs, "ten handlers at once", ten.promise);
        running--;
      });
      await publishAll(context, bus, topic, makeItems(context.run, 30, { keys: 30 }));
      await effects(context, topic, "g", 30);
      await bus.drain({ deadline: 5_000 });
      assert.equal(most, 10);
      await conserve(context, topic, "g");
    },
  }),
];

interface Expiring {
  readonly context: CaseContext;
  readonly connection: Connection;
  readonly topic: string;
  readonly lease: number;
  readonly receiver: Receiver;
  readonly delivery: Delivery;
}

/** One delivery that its first holder neither settles nor prolongs. */
async function expire(context: CaseContext, then: (parts: Expiring) => Promise<void>): Promise<void> {
  const { connection, topic } = await prepare(context, ["A"]);
  const receiver = await receiverOf(context, connection, topic, "g");
  const [delivery] = await take(receiver, 1, context.limits().idleMs);
  assert.ok(delivery, "the message came");
  await then({ context, connection, topic, lease: context.facts.lease?.ms ?? 0, receiver, delivery });
  await depth(context, topic, "g", 0);
}
