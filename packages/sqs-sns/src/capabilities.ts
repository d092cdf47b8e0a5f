import type { Limits } from "@sluice/core/driver";
import type { Settings } from "./options.ts";

/** The floor: what SQS and SNS keep in every region and account. */
export const capabilities = {
  delivery: "at-least-once",
  group: "native",
  // A queue and a subscription per instance, removed by it, or by a peer when it cannot any more.
  broadcast: "emulated",
  ordered: "native",
  headers: "native",
  filter: "native",
  priority: "absent",
  // A queue delays by 15 minutes, longer ones hop; a fan-out does not delay at all.
  delay: { group: "emulated", topic: "forwarder" },
  release: { order: "kept", counted: true },
  deliveries: "window",
  commit: "absent",
  transactions: "absent",
  seek: "absent",
  browse: "emulated",
  earliest: "absent",
  backlog: "approximate",
  deadLetter: "emulated",
  retained: false,
  persistent: true,
  sendOrder: "per-call",
} as const;

/** The type of the floor. */
export type SqsSnsCapabilities = typeof capabilities;

/** Kept free of every message for its attributes: headers, key, id, and what their packing adds. */
const attributeBytes = 18 * 1024;

/** What SQS takes in one message and in one batch. */
export const queueBytes: number = 1_048_576;

/** n.b. Bodies that are no text travel as base64 and grow by a third: the limit is what always fits. */
export function limits({ maxMessageBytes }: Settings): Limits {
  return {
    messageBytes: Math.floor((maxMessageBytes - attributeBytes) / 4) * 3,
    headers: 1_000,
    headerNameBytes: 256,
    headersBytes: 12 * 1024,
    keyBytes: 1_024,
    nameBytes: 128,
    delayMs: 365 * 24 * 3_600_000,
    delayStepMs: 1_000,
    batch: { items: 10, bytes: maxMessageBytes, perKey: 1, scope: "destination" },
    sendsInFlight: 5,
    receiveBatch: 40,
    receivesInFlight: 1,
    settleBatch: 100,
    sourcesPerReceiver: 10_000,
  };
}
