import { conformanceOf } from "./conformance.ts";

await conformanceOf("google-pubsub");
