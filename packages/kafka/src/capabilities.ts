import type { Limits } from "@sluice/core/driver";
import { longestDelayMs } from "./delays.ts";
import { maxTopicName } from "./names.ts";
import type { KafkaConfig } from "./options.ts";

/** What every supported broker (3.9 and later) keeps. */
export const capabilities = {
  delivery: "at-least-once",
  group: "native",
  broadcast: "native",
  ordered: "native",
  headers: "native",
  filter: "emulated",
  priority: "absent",
  delay: { group: "forwarder", topic: "forwarder" },
  release: "absent",
  deliveries: "window",
  commit: "prefix",
  transactions: "native",
  seek: "native",
  browse: "emulated",
  earliest: "native",
  backlog: "exact",
  deadLetter: "emulated",
  retained: true,
  persistent: true,
  sendOrder: "ordered",
} as const;

export type KafkaCapabilities = typeof capabilities;

/** Body, key and headers at their limits stay together below the broker's default `message.max.bytes` of 1,048,588. */
export function limitsOf(config: KafkaConfig): Limits {
  return {
    messageBytes: 960_000,
    headers: 128,
    headerNameBytes: 1_024,
    headersBytes: 65_536,
    keyBytes: 8_192,
    // `_<topic>.<group>.retry` behind the prefix.
    nameBytes: Math.floor((maxTopicName - config.names.prefix.length - 8) / 2),
    delayMs: longestDelayMs,
    delayStepMs: 1,
    // n.b. kafkajs groups the records of a partition in quadratic time: 1,000 take 1.5 ms, 10,000 take 73 ms.
    batch: { items: 1_000, bytes: 4_194_304, perKey: Number.POSITIVE_INFINITY, scope: "connection" },
    sendsInFlight: 1,
    receiveBatch: 1_000,
    receivesInFlight: 1,
    settleBatch: 1_000,
    sourcesPerReceiver: 2_000,
  };
}
