import { conformanceOf } from "./conformance.ts";

await conformanceOf("sqs-sns");
