import assert from "node:assert/strict";
import { topic as declareTopic } from "@sluice/core";
import { type Case, defineCase } from "../case.ts";
import { conserve, effects, publishAll, subscribe } from "../flow.ts";
import { makeItems } from "../payload.ts";
import { refuses } from "./needs.ts";

export const provisioning: readonly Case[] = [
  defineCase({
    id: "RP-01",
    title: "Publishing to a topic that does not exist is refused",
    rule: "With provisioning off, publish rejects with NOT_FOUND naming the topic, soon, and creates nothing.",
    required: true,
    profile: "smoke",
    async run(context) {
      for (const provision of ["assume", "verify"] as const) {
        const bus = await context.connect({ provision });
        const missing = declareTopic(context.name("missing"));
        const publish = () => bus.publish(missing, { n: 1 }, { deadline: 8_000 });
        await refuses("NOT_FOUND", `publish with provision '${provision}'`, publish, { names: missing.name });
        await refuses("NOT_FOUND", `a second publish with provision '${provision}'`, publish, { names: missing.name });
      }
    },
  }),
  defineCase({
    id: "RP-02",
    title: "Subscribing to what does not exist is refused",
    rule: "With provisioning off, subscribe rejects with NOT_FOUND naming the topic, soon, and creates nothing.",
    required: true,
    profile: "smoke",
    async run(context) {
      for (const provision of ["assume", "verify"] as const) {
        const bus = await context.connect({ provision });
        const missing = declareTopic(context.name("missing"));
        const call = () => bus.subscribe(missing, { group: "g" }, () => {});
        await refuses("NOT_FOUND", `subscribe with provision '${provision}'`, call, { names: missing.name });
      }
    },
  }),
  defineCase({
    id: "RP-03",
    title: "Creating what exists is harmless, also many at once",
    rule: "Provisioning is idempotent, races with itself, and loses nothing that waits.",
    required: true,
    profile: "smoke",
    async run(context) {
      const topic = context.topic({ groups: ["g"] });
      const first = await context.connect();
      await publishAll(context, first, topic, makeItems(context.run, 5));
      const others = await Promise.all(Array.from({ length: 5 }, () => context.connect()));
      await Promise.all(
        others.map((bus, index) =>
          publishAll(context, bus, topic, makeItems(context.run, 1, { producer: `p${index + 1}` })),
        ),
      );
      const fresh = context.topic({ groups: ["g"] });
      await Promise.all(
        others.map((bus, index) =>
          publishAll(context, bus, fresh, makeItems(context.run, 1, { producer: `p${index + 1}` })),
        ),
      );
      await subscribe(context, first, topic, { group: "g" });
      await subscribe(context, first, fresh, { group: "g" });
      await effects(context, topic, "g", 10);
      await effects(context, fresh, "g", 5);
      await first.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
      await conserve(context, fresh, "g");
    },
  }),
  defineCase({
    id: "G-28",
    title: "Missing resources give typed errors, and the next message flows",
    rule: "NOT_FOUND names what is missing within 5 s, for single and batch publishes; the same bus goes on working.",
    required: true,
    profile: "standard",
    async run(context) {
      const topic = context.topic({ groups: ["g"] });
      const maker = await context.connect();
      const [first, second] = [makeItems(context.run, 1), makeItems(context.run, 1, { after: 1 })];
      await publishAll(context, maker, topic, first);
      const bus = await context.connect({ provision: "assume" });
      const missing = declareTopic(context.name("missing"));
      const limits = { withinMs: 5_000, names: missing.name };
      const error = await refuses("NOT_FOUND", "publish", () => bus.publish(missing, {}, { deadline: 4_000 }), limits);
      assert.equal(error.outcome, "not-stored");
      const results = await bus.producer(missing).sendBatch([{ payload: {} }, { payload: {} }]);
      for (const result of results) {
        assert.equal(result.status, "failed");
        if (result.status === "failed") assert.equal(result.error.code, "NOT_FOUND");
      }
      await publishAll(context, bus, topic, second);
      await subscribe(context, bus, topic, { group: "g" });
      await effects(context, topic, "g", 2);
      await bus.drain({ deadline: 5_000 });
      await conserve(context, topic, "g");
    },
  }),
];
