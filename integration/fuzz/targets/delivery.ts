import {
  type Delivery,
  DriverError,
  emptyHeaders,
  type Headers,
  type SendItem,
  type Source,
} from "@sluice/core/driver";
import type { Chance } from "../chance.ts";
import { check, type Golden, sample } from "../target.ts";

const group = { topic: "orders", group: "billing" } as const;
const deadLetter = { ...group, deadLetter: true } as const;
const delayed = { delayed: true } as const;

/** A driver's mapping may refuse what the wire cannot carry, and nothing else may come out of it. */
export function refusal(error: unknown): boolean {
  return error instanceof DriverError;
}

/** The last moment that a Date can be. */
const lastMs = 8.64e15;

/** What core relies on, whoever wrote the message. */
export function checkDelivery({ id, key, body, headers, time, deliveries, forward }: Delivery): void {
  check(id === undefined || typeof id === "string", `the id is ${typeof id}`);
  check(key === null || typeof key === "string" || key instanceof Uint8Array, `the key is ${typeof key}`);
  check(body === null || body instanceof Uint8Array, `the body is ${typeof body}`);
  for (const [name, value] of Object.entries(headers))
    check(typeof value === "string", `header "${name}" is ${typeof value}`);
  check(!("toString" in headers && !Object.hasOwn(headers, "toString")), "the headers inherit something");
  check(
    time === undefined || (Number.isFinite(time) && Math.abs(time) <= lastMs),
    `the time is ${String(time)}, no Date`,
  );
  check(
    deliveries === undefined || (Number.isInteger(deliveries) && deliveries >= 0),
    `deliveries is ${String(deliveries)}`,
  );
  if (!forward) return;
  check(Number.isFinite(forward.notBefore), `forward.notBefore is ${forward.notBefore}`);
  check(typeof forward.to.topic === "string", "forward.to has no topic");
  check(
    forward.to.group === undefined || typeof forward.to.group === "string",
    `forward.to.group is ${typeof forward.to.group}`,
  );
}

/** The copy of a delivery that a retry or a dead letter sends. */
export function copyOf(from: Delivery): SendItem {
  const headers = Object.assign<Headers, Headers>(emptyHeaders(), from.headers);
  headers["sluice-attempts"] = "1";
  const id = from.id ?? "made";
  const time = from.time ?? 0;
  return { to: group, from, record: { id, dedupId: `${id}/1`, key: from.key, body: from.body, headers, time } };
}

export function sourceOf(chance: Chance): Source {
  return chance.pick<Source>([{ ...group, start: "earliest" as const }, deadLetter, delayed]);
}

export const plain: Golden = sample('{"orderId":"o-1"}', {
  "content-type": "application/json",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
});
export const ours: Golden = sample('{"orderId":"o-1"}', {
  "sluice-id": "m-1",
  "sluice-time": "1767225600000",
  "sluice-key": "k",
  "sluice-to": '{"topic":"orders","group":"billing"}',
  "sluice-not-before": "1767225600000",
});
