import type { Driver } from "@sluice/core/driver";
import { kafkaDriver } from "./schemes/kafka.ts";
import { memoryDriver } from "./schemes/memory.ts";
import { pubsubDriver } from "./schemes/google-pubsub.ts";
import { rabbitDriver } from "./schemes/rabbitmq.ts";
import { redisDriver, redisPubsubDriver } from "./schemes/redis.ts";
import { sqsDriver } from "./schemes/sqs-sns.ts";
import type { Parts } from "./parts.ts";

export interface Scheme {
  readonly delivery: "at-least-once" | "at-most-once";
  readonly driver: (parts: Parts) => Promise<Driver>;
}

const keeps = (driver: Scheme["driver"]): Scheme => ({ delivery: "at-least-once", driver });

export const schemes: ReadonlyMap<string, Scheme> = new Map([
  ["kafka:", keeps(kafkaDriver)],
  ["amqp:", keeps(rabbitDriver)],
  ["amqps:", keeps(rabbitDriver)],
  ["redis:", keeps(redisDriver)],
  ["rediss:", keeps(redisDriver)],
  ["redis+pubsub:", { delivery: "at-most-once", driver: redisPubsubDriver }],
  ["sqs:", keeps(sqsDriver)],
  ["pubsub:", keeps(pubsubDriver)],
  ["memory:", keeps(memoryDriver)],
]);
