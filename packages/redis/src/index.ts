export type { RedisCapabilities } from "./capabilities.ts";
export type { RedisClient, RedisConnectionOptions, RedisMessage, RedisOptions } from "./options.ts";
export type { RedisPubsubCapabilities } from "./pubsub/capabilities.ts";
export type { RedisPubsubClient, RedisPubsubMessage, RedisPubsubOptions } from "./pubsub/options.ts";
export { redisPubsub } from "./pubsub/redis-pubsub.ts";
export { redis } from "./redis.ts";
