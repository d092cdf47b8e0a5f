import type { Capabilities, Limits } from "@sluice/core/driver";
import { ladderMs, ladderStepMs } from "./delay-ladder.ts";
import type { Settings } from "./options.ts";

/** The floor: what every RabbitMQ from 3.10 to 4.3 keeps with quorum queues. */
export const capabilities = {
  delivery: "at-least-once",
  group: "native",
  broadcast: "native",
  ordered: "emulated",
  headers: "native",
  filter: "emulated",
  priority: "absent",
  delay: { group: "emulated", topic: "emulated" },
  release: { order: "lost", counted: true },
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
export type RabbitCapabilities = typeof capabilities;

/** The floor with `queueType: 'classic'`: such a queue does not count deliveries. */
export type ClassicCapabilities = Omit<RabbitCapabilities, "deliveries"> & { readonly deliveries: "absent" };

/** The floor with `queueType: 'classic'`. */
export const classicCapabilities: ClassicCapabilities = { ...capabilities, deliveries: "absent" };

/** From 4.3 on a quorum queue does not count what is returned unprocessed. */
export function refine(floor: Capabilities, settings: Settings, version: string): Capabilities {
  const counted = settings.queueType === "classic" || !atLeast(version, 4, 3);
  return { ...floor, release: { order: "lost", counted } };
}

/** Compares the first two numbers. */
export function atLeast(version: string, major: number, minor: number): boolean {
  const [found = 0, next = 0] = version.split(".").map(Number);
  return found > major || (found === major && next >= minor);
}

/** amqplib writes a header table into a buffer of 64 KiB; names, lengths and what the driver adds need room there too. */
const headerBudget = 48 * 1024;

/** Numbers of a live connection. `frameMax`: a header table must fit into one frame. */
export function limits(settings: Settings, frameMax: number): Limits {
  return {
    messageBytes: settings.maxMessageBytes,
    headers: 1_000,
    headerNameBytes: 255,
    headersBytes: Math.min(headerBudget, Math.floor(frameMax / 2)),
    keyBytes: 2_048,
    // Queue names end at 255 bytes: topic, group or broadcast, instance, and the words between them.
    nameBytes: 100 - Math.ceil(Buffer.byteLength(settings.prefix) / 2),
    delayMs: ladderMs,
    delayStepMs: ladderStepMs,
    batch: { items: 256, bytes: settings.maxMessageBytes, perKey: 1, scope: "connection" },
    sendsInFlight: 4,
    receiveBatch: 256,
    receivesInFlight: 1,
    settleBatch: 1_000,
    sourcesPerReceiver: 2_000,
  };
}
