import type { Capabilities, Limits } from "@sluice/core/driver";
import { longestName } from "./names.ts";
import type { Settings } from "./options.ts";

/** The floor: what Redis 7.0 to 8.x and Valkey keep. */
export const capabilities = {
  delivery: "at-least-once",
  group: "native",
  broadcast: "native",
  ordered: "emulated",
  headers: "native",
  filter: "emulated",
  priority: "absent",
  delay: { group: "emulated", topic: "emulated" },
  release: { order: "lost", counted: false },
  deliveries: "window",
  commit: "record",
  transactions: "absent",
  seek: "native",
  browse: "native",
  earliest: "native",
  backlog: "exact",
  deadLetter: "emulated",
  retained: true,
  // As the server is set up: see `refine`.
  persistent: false,
  sendOrder: "per-call",
} as const;

/** The type of the floor. */
export type RedisCapabilities = typeof capabilities;

/** With an append-only file everything confirmed is there again after a restart. */
export function refine(appendOnly: boolean): Capabilities {
  return { ...capabilities, persistent: appendOnly };
}

/** Numbers of a live connection. */
export function limits(settings: Settings): Limits {
  return {
    messageBytes: settings.maxMessageBytes,
    headers: 1_000,
    headerNameBytes: 1_024,
    headersBytes: 256 * 1024,
    keyBytes: 16 * 1024,
    nameBytes: longestName - Buffer.byteLength(settings.prefix),
    delayMs: 10 * 365 * 86_400_000,
    delayStepMs: 1,
    batch: {
      items: 256,
      bytes: Math.max(4 * 1024 * 1024, settings.maxMessageBytes),
      perKey: Infinity,
      scope: "connection",
    },
    sendsInFlight: 8,
    receiveBatch: 200,
    receivesInFlight: 1,
    settleBatch: 500,
    sourcesPerReceiver: 10_000,
  };
}
