import type { Limits } from "@sluice/core/driver";
import type { Settings } from "./options.ts";

/** The floor: what every subscription that this driver makes keeps. */
export const capabilities = {
  delivery: "at-least-once",
  group: "native",
  broadcast: "native",
  ordered: "native",
  headers: "native",
  filter: "native",
  priority: "absent",
  delay: { group: "forwarder", topic: "forwarder" },
  // n.b. the service gives a released key back in order, the emulator only what was released: the weaker one is promised.
  release: { order: "lost", counted: true },
  deliveries: "window",
  commit: "absent",
  transactions: "absent",
  seek: "native",
  browse: "emulated",
  earliest: "absent",
  backlog: "absent",
  deadLetter: "emulated",
  retained: false,
  persistent: true,
  sendOrder: "ordered",
} as const;

/** The type of the floor. */
export type GooglePubsubCapabilities = typeof capabilities;

/** Room for attributes, ids and lengths beside the body: a request ends at 10 MB. */
const overheadBytes = 128 * 1024;

/** Numbers of a live connection. */
export function limits(settings: Settings): Limits {
  return {
    messageBytes: 10_000_000 - overheadBytes,
    headers: 256,
    headerNameBytes: 4_096,
    // As many attributes of 1,024 bytes as there are, less what the driver and a native dead letter need.
    headersBytes: 64 * 1024,
    keyBytes: 1_024,
    nameBytes: Math.floor((248 - settings.prefix.length) / 2),
    delayMs: 365 * 86_400_000,
    delayStepMs: 1,
    batch: { items: 1_000, bytes: 8_000_000, perKey: 100, scope: "connection" },
    sendsInFlight: 4,
    receiveBatch: 1_000,
    receivesInFlight: 1,
    settleBatch: 1_000,
    sourcesPerReceiver: 2_000,
  };
}
