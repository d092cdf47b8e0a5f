export { sqsSns } from "./sqs-sns.ts";
export type { SqsSnsCapabilities } from "./capabilities.ts";
export type { SqsMessage, SqsSnsClient, SqsSnsOptions } from "./options.ts";
