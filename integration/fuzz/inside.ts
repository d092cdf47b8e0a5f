// What others wrote is read behind the doors of the packages. This is the only file of the folder that goes there, at run time: for
// everybody else a package is what its name exports.
const inside = (path: string) => import(new URL(`../../packages/${path}`, import.meta.url).href) as Promise<unknown>;

type DeadLetters = typeof import("../../packages/core/src/dead-letter-headers.ts");
type Work = typeof import("../../packages/core/src/consume/work.ts");
type Google = typeof import("../../packages/google-pubsub/src/record.ts");
type Kafka = typeof import("../../packages/kafka/src/record.ts");
type KafkaCodecs = typeof import("../../packages/kafka/src/kafkajs/codecs.ts");
type Otel = typeof import("../../packages/otel/src/propagation.ts");
type Rabbitmq = typeof import("../../packages/rabbitmq/src/record.ts");
type Redis = typeof import("../../packages/redis/src/record.ts");
type RedisPubsub = typeof import("../../packages/redis/src/pubsub/record.ts");
type RedisReplies = typeof import("../../packages/redis/src/replies.ts");
type Protos = typeof import("../../packages/schema/test/formats-proto.ts");
type Sqs = typeof import("../../packages/sqs-sns/src/record.ts");

export const deadLetters: DeadLetters = (await inside("core/src/dead-letter-headers.ts")) as DeadLetters;
export const work: Work = (await inside("core/src/consume/work.ts")) as Work;
export const google: Google = (await inside("google-pubsub/src/record.ts")) as Google;
export const kafka: Kafka = (await inside("kafka/src/record.ts")) as Kafka;
export const kafkaCodecs: KafkaCodecs = (await inside("kafka/src/kafkajs/codecs.ts")) as KafkaCodecs;
export const otel: Otel = (await inside("otel/src/propagation.ts")) as Otel;
export const rabbitmq: Rabbitmq = (await inside("rabbitmq/src/record.ts")) as Rabbitmq;
export const redis: Redis = (await inside("redis/src/record.ts")) as Redis;
export const redisPubsub: RedisPubsub = (await inside("redis/src/pubsub/record.ts")) as RedisPubsub;
export const redisReplies: RedisReplies = (await inside("redis/src/replies.ts")) as RedisReplies;
export const protos: Protos = (await inside("schema/test/formats-proto.ts")) as Protos;
export const sqs: Sqs = (await inside("sqs-sns/src/record.ts")) as Sqs;
