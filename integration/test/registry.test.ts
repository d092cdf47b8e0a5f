// The registry client and codecs against a real registry: Apicurio and its Confluent-compatible API.
import { afterAll } from "vitest";
import { clientSuite } from "./registry/client.ts";
import { foreignSuite } from "./registry/foreign.ts";
import { formatsSuite } from "./registry/formats.ts";
import { messagesSuite } from "./registry/messages.ts";
import { stopAll } from "./registry/support.ts";

afterAll(stopAll, 60_000);

clientSuite();
messagesSuite();
formatsSuite();
foreignSuite();
