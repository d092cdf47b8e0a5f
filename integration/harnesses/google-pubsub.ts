import { defineHarness, type DriverVariant, type Harness } from "@sluice/conformance";
import { googlePubsub } from "@sluice/google-pubsub";
import { openGoogleFront } from "./google-front.ts";
import { openRawGooglePubsub } from "./raw-google-pubsub.ts";
import { announced, restartSkips, versionOf } from "./start.ts";

const endpoint = process.env["PUBSUB_EMULATOR_HOST"] ?? "localhost:8085";
const projectId = process.env["PUBSUB_PROJECT_ID"] ?? "sluice";

// The raw client would ask the metadata server of a machine that is in no cloud, and warn that there is none.
process.env["METADATA_SERVER_DETECTION"] ??= "none";

/**
 * The emulator knows nobody: whoever has wrong credentials, or no rights, comes through one of these. n.b. credentials themselves go over
 * TLS only; that the service's client shows none of them is a test of its own.
 */
const wrong = await openGoogleFront(endpoint, () => ({ status: 16, text: "invalid authentication credentials" }));
const powerless = await openGoogleFront(endpoint, () => ({ status: 7, text: "not authorized to perform this action" }));

function endpointFor({ via, credentials }: DriverVariant): string {
  if (via) return `${via.host}:${via.port}`;
  if (credentials === undefined) return endpoint;
  return credentials === "wrong" ? wrong.address : powerless.address;
}

const { hostname, port } = new URL(`http://${endpoint}`);

const harness: Harness = defineHarness({
  adapter: "@sluice/google-pubsub",
  // The emulator hands out a dead holder's messages after later ones of their key; the service before them.
  environment: { ...announced("google-pubsub"), redeliversInOrder: false },
  clients: { "@google-cloud/pubsub": versionOf("@google-cloud/pubsub") },
  driver: (variant = {}) =>
    googlePubsub({
      projectId,
      endpoint: endpointFor(variant),
      // The shortest one: a dead holder's messages come back after it.
      leaseSeconds: 10,
      heartbeat: 5,
      // The raw client counts what a group has not settled in a copy of its subscription, which begins with what the topic kept.
      topicRetentionHours: 1,
    }),
  raw: () => openRawGooglePubsub(endpoint, projectId),
  timing: { leaseMs: 10_000, recoveryMs: 25_000, quietMs: 1_500 },
  upstream: { host: hostname, port: Number(port) },
  powerless: true,
  environmentSkips: restartSkips(),
  parallel: 4,
  async close() {
    wrong.close();
    powerless.close();
  },
});

export default harness;
