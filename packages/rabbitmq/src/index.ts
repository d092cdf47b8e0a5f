export type { RabbitCapabilities } from "./capabilities.ts";
export type { RabbitClient, RabbitMessage, RabbitOptions, RabbitTls } from "./options.ts";
export { rabbitmq } from "./rabbitmq.ts";
