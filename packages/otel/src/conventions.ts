import type { Attributes } from "@opentelemetry/api";
import { isSluiceError } from "@sluice/core";

/** Version of the semantic conventions behind every name here. */
export const schemaUrl = "https://opentelemetry.io/schemas/1.45.0";

/** What a broker's operations are called: its own verbs. */
export interface Words {
  /** `messaging.system.name` of what takes a publish; SNS takes what SQS hands out. */
  readonly sendSystem: string;
  readonly system: string;
  readonly send: string;
  readonly process: string;
  /** A copy to a group's own entry or dead letters: where `process` reads, too. */
  readonly copy: string;
}

const words: Readonly<Record<string, Words>> = {
  kafka: same("kafka", "send", "process"),
  rabbitmq: same("rabbitmq", "publish", "consume"),
  "sqs-sns": { ...same("aws.sqs", "publish", "process"), sendSystem: "aws.sns", copy: "send" },
  "google-pubsub": same("gcp.pubsub", "send", "subscribe"),
  redis: same("redis", "xadd", "process"),
  "redis-pubsub": same("redis", "publish", "process"),
  memory: same("sluice.memory", "send", "process"),
};

/** The verbs of a driver; of one that nobody here knows, the plain ones. */
export function wordsOf(driver: { readonly name: string; readonly system: string }): Words {
  return words[driver.name] ?? same(driver.system, "send", "process");
}

function same(system: string, send: string, process: string): Words {
  return { sendSystem: system, system, send, process, copy: send };
}

/** Names until 1.44 of what 1.45 renamed. */
const older: Readonly<Record<string, string>> = {
  "messaging.system.name": "messaging.system",
  "kafka.message.key": "messaging.kafka.message.key",
  "kafka.offset": "messaging.kafka.offset",
  "kafka.message.tombstone": "messaging.kafka.message.tombstone",
  "rabbitmq.destination.routing_key": "messaging.rabbitmq.destination.routing_key",
  "rabbitmq.message.delivery_tag": "messaging.rabbitmq.message.delivery_tag",
  "gcp.pubsub.message.ordering_key": "messaging.gcp_pubsub.message.ordering_key",
  "gcp.pubsub.message.delivery_attempt": "messaging.gcp_pubsub.message.delivery_attempt",
};

const olderSystems: Readonly<Record<string, string>> = { "aws.sqs": "aws_sqs", "gcp.pubsub": "gcp_pubsub" };

/** Span attributes with their older names beside the new ones: what `OTEL_SEMCONV_STABILITY_OPT_IN=messaging/dup` asks for. */
export function withOlderNames(attributes: Attributes): Attributes {
  const both = { ...attributes };
  for (const [name, value] of Object.entries(attributes)) {
    const before = older[name];
    if (before !== undefined) both[before] = typeof value === "string" ? (olderSystems[value] ?? value) : value;
  }
  return both;
}

/** Whether the variable, a list with commas, asks for both. Without it, and with `messaging`, there are the new names only. */
export function wantsOlderNames(optIn: string | undefined): boolean {
  return (optIn ?? "").split(",").some((word) => word.trim() === "messaging/dup");
}

/** `error.type`: of few values, the same on a span and on its metrics. */
export function errorType(error: unknown): string {
  if (isSluiceError(error)) return error.code;
  if (!(error instanceof Error)) return typeof error;
  return typeof error.name === "string" && error.name !== "" ? error.name.slice(0, 128) : "Error";
}
