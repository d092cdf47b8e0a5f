export type { GooglePubsubCapabilities } from "./capabilities.ts";
export { googlePubsub } from "./google-pubsub.ts";
export type { GooglePubsubClient, GooglePubsubMessage, GooglePubsubOptions } from "./options.ts";
