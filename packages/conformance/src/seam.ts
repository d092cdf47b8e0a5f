/** The driver contract below core: for rules that core itself would hide. */
import assert from "node:assert/strict";
import {
  type Connection,
  type Delivery,
  type Destination,
  type DeclaredTopic,
  type Driver,
  emptyHeaders,
  type GroupSource,
  type OutgoingRecord,
  type Receiver,
  type ReceiverOptions,
  type SendItem,
  type SendResult,
} from "@sluice/core/driver";
import { monotonicMs, pause } from "./clock.ts";
import type { CaseContext } from "./context.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A record with a text body. */
export function record(id: string, body: string, key: string | null = null): OutgoingRecord {
  return { id, dedupId: `${id}/0`, key, body: encoder.encode(body), headers: emptyHeaders(), time: Date.now() };
}

/** Makes a topic with groups. */
export async function declare(
  parts: { readonly driver: Driver; readonly connection: Connection },
  name: string,
  groups: readonly string[],
  options: Partial<DeclaredTopic> = {},
): Promise<void> {
  const declared: DeclaredTopic = {
    name,
    ordered: false,
    shards: 4,
    delays: false,
    groups: groups.map((group) => ({ name: group, start: "now", retry: true, deadLetter: true })),
    ...options,
  };
  const resources = parts.driver.topology({ topics: [declared] });
  const findings = await parts.connection.provision(resources, "create", AbortSignal.timeout(15_000));
  const bad = findings.filter((finding) => finding.state !== "ok" && finding.state !== "created");
  assert.deepEqual(bad, [], "provisioning left findings");
}

/** Sends records to one destination in one call. */
async function sendTo(
  connection: Connection,
  to: Destination,
  records: readonly OutgoingRecord[],
): Promise<readonly SendResult[]> {
  const sender = await connection.sender();
  try {
    const items: SendItem[] = records.map((entry) => ({ to, record: entry }));
    return await sender.send(items, AbortSignal.timeout(15_000));
  } finally {
    await sender.close(AbortSignal.timeout(5_000));
  }
}

/** Sends texts as records `r1`, `r2`, … and requires that each was stored. */
export async function put(
  connection: Connection,
  to: Destination,
  bodies: readonly string[],
  key: (index: number) => string | null = () => null,
): Promise<void> {
  const records = bodies.map((body, index) => record(`${body}-${index + 1}`, body, key(index)));
  for (const result of await sendTo(connection, to, records)) {
    assert.equal(result.outcome, "stored", result.outcome === "stored" ? "" : result.error.message);
  }
}

/** A topic with one group, opened at the driver, with texts of one key in it. */
export async function prepare(
  context: CaseContext,
  bodies: readonly string[],
): Promise<{ readonly connection: Connection; readonly topic: string }> {
  const parts = await context.connection();
  const topic = context.name();
  await declare(parts, topic, ["g"], { shards: 1 });
  await put(parts.connection, { topic }, bodies, () => "k");
  return { connection: parts.connection, topic };
}

/** A receiver of one group that is closed at the end of the case. */
export async function receiverOf(
  context: CaseContext,
  connection: Connection,
  topic: string,
  group: string,
  options: Partial<ReceiverOptions> = {},
): Promise<Receiver> {
  const source: GroupSource = { topic, group, start: "now" };
  const receiver = await connection.receiver([source], {
    ordered: false,
    window: 100,
    windowBytes: 1 << 24,
    lost: (deliveries, reason) => {
      for (const delivery of deliveries) {
        context.ledger.write("settle-lost", { topic, group, id: textOf(delivery), detail: reason });
      }
    },
    ...options,
  });
  context.cleanup(() => receiver.close(AbortSignal.timeout(5_000)));
  return receiver;
}

/** Takes deliveries until there are `count`, or until `ms` passed; never more than `count`. */
export async function take(receiver: Receiver, count: number, ms: number): Promise<Delivery[]> {
  const taken: Delivery[] = [];
  const end = monotonicMs() + ms;
  while (taken.length < count) {
    const left = end - monotonicMs();
    if (left <= 0) break;
    const more = await receiver.receive(count - taken.length, AbortSignal.timeout(Math.ceil(left)));
    if (more === undefined) break;
    if (more.length === 0) await pause(1); // An empty poll may end at once: this loop must not starve what it waits for.
    taken.push(...more);
  }
  return taken;
}

/** Accepts all and makes it durable. */
export async function acceptAll(receiver: Receiver, deliveries: readonly Delivery[]): Promise<void> {
  const results = await receiver.settle(deliveries.map((delivery) => ({ delivery, accept: true })));
  assert.ok(!results.includes("lost"), `settlements answered ${results.join(", ")}`);
  await receiver.flush(AbortSignal.timeout(10_000));
}

/** The body as text. */
export function textOf(delivery: Delivery): string {
  return delivery.body === null ? "(null)" : decoder.decode(delivery.body);
}
