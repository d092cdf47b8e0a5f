/** What is kept for nobody: delivery at most once, and broadcasts across a fault. */
import assert from "node:assert/strict";
import { subscribe as onChannel, unsubscribe as offChannel } from "node:diagnostics_channel";
import type { Bus } from "@sluice/core";
import { type DriverEvent, DriverError, type Source } from "@sluice/core/driver";
import { type Case, defineCase } from "../case.ts";
import { monotonicMs, pause, within } from "../clock.ts";
import type { CaseContext, ItemTopic } from "../context.ts";
import { effects, publishAll, recording, stated, subscribe } from "../flow.ts";
import { type Item, makeItems } from "../payload.ts";
import { openProxy } from "../fault-tools.ts";
import { declare, record } from "../seam.ts";
import { needs, refuses } from "./needs.ts";

export const fleeting: readonly Case[] = [
  defineCase({
    id: "AM-01",
    title: "Delivery at most once has to be asked for",
    rule: "Without delivery: 'at-most-once' publish, sendBatch and subscribe are refused where the broker promises no more; with it messages flow.",
    required: true,
    profile: "smoke",
    groupless: true,
    needs: needs.atMostOnce,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ unrouted: "allow" });
      const [item, other] = makeItems(context.run, 2);
      assert.ok(item && other);
      const words = { names: "at-most-once" };
      await refuses("UNSUPPORTED", "publish", () => bus.publish(topic, item), words);
      const results = await bus
        .producer(topic)
        .sendBatch([{ payload: item }])
        .catch((error: unknown) => [error]);
      const [result] = results as readonly { readonly status?: string }[];
      assert.notEqual(result?.status, "sent", "sendBatch was not refused");
      const plain = { broadcast: "b" } as const;
      await refuses("UNSUPPORTED", "subscribe", () => bus.subscribe(topic, plain, () => {}), words);
      await subscribe(context, bus, topic, { group: "g" });
      await publishAll(context, bus, topic, [other]);
      await effects(context, topic, "g", 1);
      await bus.drain({ deadline: 5_000 });
    },
    // A broker that promises more takes the word, and keeps its promise all the same.
    async inverse(context) {
      const topic = context.topic({ groups: ["g"] });
      const publisher = await context.connect();
      const options = () => ({ delivery: "at-most-once" }) as const;
      await publishAll(context, publisher, topic, makeItems(context.run, 5), { options });
      await publisher.close();
      const bus = await context.connect();
      await subscribe(context, bus, topic, { group: "g", delivery: "at-most-once" });
      await effects(context, topic, "g", 5);
      await bus.drain({ deadline: 5_000 });
    },
  }),
  defineCase({
    id: "AM-02",
    title: "A broker without groups refuses them, also below core",
    rule: "Groups, their dead letters and their own entries are UNSUPPORTED at the call, never taken for something else.",
    required: false,
    profile: "standard",
    groupless: true,
    needs: needs.groupless,
    run: (context) => refuseGroups(context),
  }),
  defineCase({
    id: "GR-10",
    title: "What a broadcast missed is told",
    rule: "After a broken connection a broadcast goes on by itself; if anything that was sent meanwhile did not come, a gap was reported.",
    required: false,
    profile: "fault",
    groupless: true,
    uses: ["cut"],
    needs: needs.broadcast,
    limitMs: 180_000,
    run: (context) => missAndTell(context),
  }),
];

async function refuseGroups(context: CaseContext): Promise<void> {
  const bus = await context.connect();
  const topic = context.topic({ unrouted: "allow" });
  const options = { group: "g", ...stated(bus) };
  await refuses("UNSUPPORTED", "subscribe with a group", () => bus.subscribe(topic, options, () => {}));
  await refuses("UNSUPPORTED", "a consumer", () => bus.consumer(topic, options));
  await refuses("UNSUPPORTED", "dead letters", async () => bus.deadLetters(topic, { group: "g" }).count());
  const parts = await context.connection();
  await declare(parts, topic.name, []);
  const sources: readonly Source[] = [
    { topic: topic.name, group: "g", start: "now" },
    { topic: topic.name, group: "g", deadLetter: true },
  ];
  for (const source of sources) {
    const opening = parts.connection.receiver([source], { ordered: false, window: 1, windowBytes: 1e6, lost() {} });
    const error = await opening.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof DriverError, `a receiver of ${JSON.stringify(source)} was opened`);
    assert.equal(error.code, "UNSUPPORTED", error.message);
  }
  const sender = await parts.connection.sender();
  const to = { topic: topic.name, group: "g" };
  const [sent] = await sender.send([{ to, record: record("r1", "for a group") }], AbortSignal.timeout(5_000));
  assert.notEqual(sent?.outcome, "stored", "a record for a group's own entry was stored");
}

async function missAndTell(context: CaseContext): Promise<void> {
  const topic = context.topic({ unrouted: "allow" });
  const gaps: DriverEvent[] = [];
  const note = (event: unknown) => {
    const { kind, source } = event as DriverEvent;
    if (kind === "gap" && (source === undefined || source.topic === topic.name)) gaps.push(event as DriverEvent);
  };
  onChannel("sluice:broker", note);
  context.cleanup(() => offChannel("sluice:broker", note));
  const cut = await cuttable(context, topic);
  const publisher = await context.connect();
  // Somebody else listens, so that what is sent meanwhile is sent to somebody.
  await publisher.subscribe(topic, { broadcast: "other", ...stated(publisher) }, () => {});
  const send = async (items: readonly Item[]) => {
    for (const item of items) {
      await publishAll(context, publisher, topic, [item]);
      await pause(10);
    }
  };
  await send(makeItems(context.run, 20, { producer: "before" }));
  await effects(context, topic, "b", 20);
  const during = send(makeItems(context.run, 60, { producer: "during" }));
  await within(120_000, "the connection is cut", cut());
  await within(60_000, "every publish settles", during);
  const seen = () => context.journal.ids("effect", topic.name, "b");
  const limits = { idleMs: 2 * context.harness.timing.recoveryMs, totalMs: 60_000 };
  const probing = new AbortController();
  const probes = (async () => {
    for (let n = 0; !probing.signal.aborted; n++) {
      await send(makeItems(context.run, 1, { producer: "probe", after: n }));
      await pause(200, probing.signal);
    }
  })();
  const arrived = () => [...seen().keys()].some((id) => id.includes(".probe."));
  await context.journal.until("the broadcast goes on by itself", limits, arrived);
  probing.abort();
  await probes;
  const after = makeItems(context.run, 10, { producer: "after" });
  const before = seen().size;
  await send(after);
  const late = () => [...seen().keys()].filter((id) => id.includes(".after.")).length;
  await context.journal.until(
    "ten after the fault",
    limits,
    () => late() === 10,
    () => `${late()} of 10, ${before} before`,
  );
  const missing = () => [...context.journal.ids("publish-ok", topic.name).keys()].filter((id) => !seen().has(id));
  // What was handed to the connection that died comes again when its lease ends, where the broker keeps it for the listener.
  const leaseEnds = monotonicMs() + (context.facts.lease ? context.harness.timing.leaseMs + 1_000 : 0);
  while (missing().length > 0 && gaps.length === 0 && monotonicMs() < leaseEnds) await pause(50);
  const missed = missing();
  context.metrics.lost = missed.length;
  assert.ok(missed.length === 0 || gaps.length > 0, `${missed.length} missed, and no gap was reported: ${missed[0]}`);
}

/** A listener, and what cuts its connection: as death would, by a proxy, or with the whole broker. */
async function cuttable(context: CaseContext, topic: ItemTopic): Promise<() => Promise<void>> {
  const { harness } = context;
  const clientName = `listener-${context.run}`;
  const handler = recording(context.ledger, topic.name, "b", context.run);
  const listen = async (bus: Bus) => {
    await bus.subscribe(topic, { broadcast: "b", ...stated(bus) }, async (item, handling) => {
      await handler(item, handling);
    });
  };
  if (harness.crash || !harness.upstream) {
    await listen(await context.connect({ clientName }));
    return async () => (harness.crash ? harness.crash(clientName) : harness.control?.restart(500));
  }
  const proxy = await openProxy(context);
  await listen(await context.connect({ clientName }, { via: proxy.address }));
  return async () => {
    await proxy.refuse();
    proxy.reset();
    await pause(1_000);
    await proxy.accept();
  };
}
