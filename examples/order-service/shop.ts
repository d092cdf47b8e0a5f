// The producer: publishes every order that was read, and goes on when one is refused.
import { setTimeout as sleep } from "node:timers/promises";
import { type Bus, isSluiceError, topic } from "@sluice/core";
import type { Ledger } from "./ledger.ts";
import type { Line } from "./orders.ts";
import { type Order, OrderPlaced } from "./service.ts";

/** The same topic as an old program sees it: it has no schema, so that broken orders reach the consumers. */
const LegacyOrderPlaced = topic(OrderPlaced.name, {
  key: (order: { readonly customerId: string }) => order.customerId,
  groups: OrderPlaced.groups,
});

export interface ShopOptions {
  /** Orders a second; 0 = as fast as the broker confirms. */
  readonly rate: number;
  /** Ends the publishing; what is on its way is waited for. */
  readonly signal: AbortSignal;
}

const mostInFlight = 256;

export async function publishOrders(
  bus: Bus,
  lines: AsyncIterable<Line>,
  ledger: Ledger,
  options: ShopOptions,
): Promise<void> {
  const inFlight = new Set<Promise<void>>();
  const began = performance.now();
  for await (const line of lines) {
    if (options.signal.aborted) break;
    ledger.read++;
    if ("problem" in line) ledger.refuse(line.problem);
    else {
      const publishing = publishOrder(bus, line.value, ledger).finally(() => inFlight.delete(publishing));
      inFlight.add(publishing);
    }
    if (inFlight.size >= mostInFlight) await Promise.race(inFlight);
    const aheadMs = options.rate > 0 ? (ledger.read / options.rate) * 1000 - (performance.now() - began) : 0;
    if (aheadMs > 10) await sleep(aheadMs);
  }
  await Promise.all(inFlight);
}

async function publishOrder(bus: Bus, value: unknown, ledger: Ledger): Promise<void> {
  const options = { id: ledger.nextId() };
  ledger.sending(options.id);
  try {
    if (isLegacy(value)) await bus.publish(LegacyOrderPlaced, value, options);
    // Nobody has looked at the value yet: the topic's schema does it now.
    else await bus.publish(OrderPlaced, value as Order, options);
  } catch (error) {
    if (!isSluiceError(error)) throw error;
    const issues = error.issues.map(({ path, message }) => `${path}: ${message}`).join("; ");
    ledger.refuse(issues === "" ? error.code : `${error.code} (${issues})`);
  }
}

function isLegacy(value: unknown): value is { readonly customerId: string } {
  return (
    typeof value === "object" &&
    value !== null &&
    "source" in value &&
    value.source === "legacy-shop" &&
    "customerId" in value
  );
}
