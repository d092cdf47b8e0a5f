import { type Delivery, emptyHeaders, type Headers, type SendItem, wire } from "@sluice/core/driver";
import type { Held } from "./holdings.ts";

/** Receipts from which on one more begins to look like a crash. */
const manyReceipts = 2;

/** Whether giving it back as it is would leave a trace. A FIFO queue keeps the place of what it shows again, a copy loses it. */
export function isCounted({ line, delivery }: Held): boolean {
  const { source } = delivery;
  if (line.queue.fifo || source.topic === undefined || "broadcast" in source || source.deadLetter) return false;
  return (delivery.deliveries ?? 1) >= manyReceipts;
}

/** A copy that was handed out once less, for the group's queue. */
export function uncounted(delivery: Delivery): SendItem {
  const { source, id = "", key, body, time = 0, deliveries = 1 } = delivery;
  const headers = Object.assign<Headers, Headers>(emptyHeaders(), delivery.headers);
  const before = Number(headers[wire.handOuts] ?? 0);
  headers[wire.handOuts] = String((Number.isInteger(before) ? before : 0) + deliveries - 1);
  if (source.topic === undefined || !("group" in source)) throw new TypeError("only a group's messages are put back");
  const record = { id, dedupId: `${id}/${deliveries}`, key, body, headers, time };
  return { to: { topic: source.topic, group: source.group }, from: delivery, record };
}
