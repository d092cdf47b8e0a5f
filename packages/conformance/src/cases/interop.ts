/** Both ways between Sluice and programs that know nothing of it. */
import assert from "node:assert/strict";
import { bytes, topic as declareTopic } from "@sluice/core";
import { wire } from "@sluice/core/driver";
import { type Case, defineCase } from "../case.ts";
import { poll, within } from "../clock.ts";
import type { CaseContext } from "../context.ts";
import { headerOf, untilDead } from "../dead-letters.ts";
import { foreignMessages, readRaw, sameForeign } from "../foreign.ts";
import { movedRetry, publishOne, quickRetry, readable } from "../flow.ts";
import { makeItems } from "../payload.ts";
import { declare } from "../seam.ts";
import { needs } from "./needs.ts";

export const interop: readonly Case[] = [
  defineCase({
    id: "IO-01",
    title: "A foreign message is handled",
    rule: "A message that the raw client wrote, without any header of ours, reaches the handler: body, key and headers as written, attempt 1, an id.",
    required: true,
    profile: "smoke",
    groupless: true,
    uses: ["raw"],
    run: (context) => handleForeign(context),
  }),
  defineCase({
    id: "IO-02",
    title: "A foreign program reads our messages",
    rule: "The raw client finds the payload as the body, byte for byte, and id, key, content type and headers readable.",
    required: true,
    profile: "smoke",
    groupless: true,
    uses: ["raw"],
    needs: needs.headers,
    async run(context) {
      const bus = await context.connect();
      const topic = context.topic({ groups: ["g"] });
      const [first, item] = makeItems(context.run, 2);
      assert.ok(first && item);
      await publishOne(context.ledger, context.run, bus, topic, first); // Makes the topic, which a reader has to find.
      const headers = { "x-plain": "plain", "x-accents": "Grüße 🦊" };
      const record = await readRaw(context, topic.name, () =>
        publishOne(context.ledger, context.run, bus, topic, item, { id: "order-42", headers }),
      );
      assert.equal(Buffer.from(record.body ?? []).toString(), JSON.stringify(item), "the body is the payload alone");
      for (const [name, value] of Object.entries(headers)) assert.equal(headerOf(record.headers, name), value, name);
      assert.equal(record.id ?? headerOf(record.headers, wire.id), "order-42", "the id is readable");
      const contentType = record.contentType ?? headerOf(record.headers, wire.contentType);
      assert.equal(contentType, "application/json", "the content type is readable");
      if (context.raw.lacks?.includes("key")) return;
      assert.equal(Buffer.from(record.key ?? "").toString(), item.key, "the key is readable");
    },
    async inverse(context) {
      const bus = await context.connect();
      const topic = context.topic({ unrouted: "allow" });
      const [first, item] = makeItems(context.run, 2);
      assert.ok(first && item);
      await publishOne(context.ledger, context.run, bus, topic, first);
      const record = await readRaw(context, topic.name, () =>
        publishOne(context.ledger, context.run, bus, topic, item, { id: "order-42" }),
      );
      // Without headers the metadata is around the payload, in the one envelope that others know: CloudEvents in JSON.
      const event = JSON.parse(Buffer.from(record.body ?? []).toString()) as Readonly<Record<string, unknown>>;
      assert.equal(event["specversion"], "1.0");
      assert.equal(event["id"], "order-42");
      assert.deepEqual(event["data"], item);
    },
  }),
  defineCase({
    id: "IO-03",
    title: "Foreign bytes survive retry, dead letter and redrive",
    rule: "Whatever a foreign program wrote (binary keys and headers, null and empty bodies) is in the dead letter as it was, also the second time.",
    required: true,
    profile: "standard",
    uses: ["raw"],
    needs: needs.deadLetter,
    run: (context) => moveForeign(context),
  }),
];

async function handleForeign(context: CaseContext): Promise<void> {
  const bus = await context.connect();
  const topic = declareTopic(context.name(), { codec: bytes(), shards: 4 });
  const messages = foreignMessages(context.raw, ["key", "headers", "binary-body", "empty-body"]);
  const seen: { readonly body: Uint8Array; readonly id: string; readonly key: string; readonly note: string }[] = [];
  const all = Promise.withResolvers<void>();
  await bus.subscribe(topic, readable(bus, { group: "g", retry: quickRetry }), (body, { message }) => {
    const { id, key, headers, attempt } = message;
    assert.equal(attempt, 1);
    seen.push({ body: body as Uint8Array, id, key: textOf(key), note: headers["x-foreign"] ?? "" });
    if (seen.length === messages.length) all.resolve();
  });
  await context.raw.produce(
    topic.name,
    messages.map(({ record }) => record),
  );
  const missing = () => `came: ${seen.map(({ body }) => Buffer.from(body).toString("latin1")).join(", ")}`;
  await within(context.limits().totalMs, `${messages.length} foreign messages`, all.promise, missing);
  for (const { what, record } of messages) {
    const found = seen.find(({ body }) => Buffer.from(body).equals(Buffer.from(record.body ?? [])));
    assert.ok(found, `${what} did not arrive byte for byte; ${missing()}`);
    assert.ok(found.id.length > 0, `${what} has no id`);
    if (record.key) assert.equal(found.key, textOf(record.key), `key of ${what}`);
    assert.equal(found.note, headerOf(record.headers, "x-foreign") ?? "", `header of ${what}`);
  }
  assert.equal(new Set(seen.map(({ id }) => id)).size, messages.length, "ids of foreign messages repeat");
  await bus.drain({ deadline: 5_000 });
}

/** Fails every message twice through its own entry, redrives it, and gives it up again. */
async function moveForeign(context: CaseContext): Promise<void> {
  const parts = await context.connection();
  const topic = declareTopic(context.name(), { codec: bytes(), ordering: "none", shards: 4, groups: ["g"] });
  await declare(parts, topic.name, ["g"]);
  const messages = foreignMessages(context.raw, [
    "key",
    "headers",
    "binary-headers",
    "binary-body",
    "empty-body",
    "null-body",
  ]);
  const reader = await context.raw.consume(topic.name);
  await context.raw.produce(
    topic.name,
    messages.map(({ record }) => record),
  );
  const written = await reader.read(messages.length, context.limits().idleMs);
  await reader.close();
  assert.equal(written.length, messages.length, "raw.consume read what raw.produce wrote");
  const bus = await context.connect();
  const runs: string[] = [];
  const retry = { ...movedRetry, attempts: 2 };
  await bus.subscribe(topic, { group: "g", retry }, (_, { message }) => {
    runs.push(`${message.redrives}.${message.attempt}`);
    throw new Error("always fails");
  });
  for (const round of ["retry and dead letter", "redrive, retry and dead letter"]) {
    const dead = await untilDead(context, topic.name, "g", messages.length);
    sameForeign(written, dead, `after ${round}`);
    if (round === "retry and dead letter") {
      const { redriven } = await bus.deadLetters(topic, { group: "g" }).redrive();
      assert.equal(redriven, messages.length);
      const again = async () => runs.filter((run) => run === "1.2").length === messages.length || undefined;
      await poll(context.limits().totalMs, () => `every redriven message fails twice: ${runs.join(" ")}`, again);
    }
  }
  const each = (run: string) => runs.filter((one) => one === run).length;
  assert.deepEqual(
    ["0.1", "0.2", "1.1", "1.2"].map(each),
    Array.from({ length: 4 }, () => messages.length),
    runs.join(" "),
  );
  await bus.drain({ deadline: 5_000 });
}

function textOf(key: Uint8Array | string | null): string {
  return key === null ? "" : Buffer.from(key).toString("latin1");
}
