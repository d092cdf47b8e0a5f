export type { KafkaCapabilities } from "./capabilities.ts";
export { kafka } from "./kafka.ts";
export type { KafkaJsClient } from "./kafkajs/client.ts";
export type { Compression, KafkaOptions, KafkaSasl } from "./options.ts";
export type { HeaderValue, KafkaMessage } from "./record.ts";
