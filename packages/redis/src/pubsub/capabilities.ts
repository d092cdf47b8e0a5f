import type { Limits } from "@sluice/core/driver";

/** The floor: who is not connected misses the message, and nothing comes again. */
export const pubsubCapabilities = {
  delivery: "at-most-once",
  group: "absent",
  broadcast: "native",
  ordered: "absent",
  headers: "absent",
  filter: "absent",
  priority: "absent",
  delay: { group: "absent", topic: "absent" },
  release: "absent",
  deliveries: "absent",
  commit: "absent",
  transactions: "absent",
  seek: "absent",
  browse: "absent",
  earliest: "absent",
  backlog: "absent",
  deadLetter: "absent",
  retained: false,
  persistent: false,
  sendOrder: "per-call",
} as const;

/** The type of the floor. */
export type RedisPubsubCapabilities = typeof pubsubCapabilities;

/** Limits of our own: the server knows none but 512 MB a message. */
export const pubsubLimits: Limits = {
  messageBytes: 16_777_216,
  headers: 1_000,
  headerNameBytes: 1_024,
  headersBytes: 256 * 1024,
  keyBytes: 16 * 1024,
  nameBytes: 512,
  delayMs: 0,
  delayStepMs: 0,
  batch: { items: 256, bytes: 16_777_216, perKey: Infinity, scope: "connection" },
  sendsInFlight: 8,
  receiveBatch: 256,
  receivesInFlight: 1,
  settleBatch: 1_000,
  sourcesPerReceiver: 10_000,
};
