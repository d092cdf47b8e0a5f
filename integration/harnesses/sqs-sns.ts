import { defineHarness, type DriverVariant, type Harness, wrongSecret } from "@sluice/conformance";
import { sqsSns } from "@sluice/sqs-sns";
import { openRawSqsSns } from "./raw-sqs-sns.ts";
import { openSqsFront } from "./sqs-front.ts";
import { announced, restartSkips, versionOf } from "./start.ts";

const endpoint = process.env["AWS_ENDPOINT_URL"] ?? "http://localhost:4566";
const { hostname, port } = new URL(endpoint);
const environment = announced("sqs-sns");
const visibilitySeconds = 6;
/**
 * One of the two stand-ins. It drops a raw message that has a binary attribute, and two polls of one queue at the same time may
 * get the same message, or two of one ordered group.
 */
const isMoto = (process.env["CONFORMANCE_VERSION"] ?? "").startsWith("moto");

const twoPolls = "two polls of one queue at the same time get a message twice now and then, also with the client alone";

const tooSlow = "answers take seconds while several members poll: sends and closes run into their limits";

/** The stand-ins take any credentials: whoever has wrong ones, or no rights, comes through here. */
const front = await openSqsFront({ host: hostname, port: Number(port) || 80 }, ({ key, action }) => {
  if (key === "wrong") return "InvalidClientTokenId";
  return /^List(Queues|Topics)$/.test(action) ? undefined : "AccessDenied";
});

function addressFor({ via, credentials }: DriverVariant): string {
  if (via) return `http://${via.host}:${via.port}`;
  return credentials === undefined ? endpoint : front.endpoint;
}

const harness: Harness = defineHarness({
  adapter: "@sluice/sqs-sns",
  environment: { ...environment, kind: environment.kind === "broker" ? "emulator" : environment.kind },
  clients: {
    "@aws-sdk/client-sqs": versionOf("@aws-sdk/client-sqs"),
    "@aws-sdk/client-sns": versionOf("@aws-sdk/client-sns"),
  },
  driver: (variant = {}) =>
    sqsSns({
      endpoint: addressFor(variant),
      region: "us-east-1",
      credentials: {
        accessKeyId: variant.credentials ?? "conformance",
        secretAccessKey: variant.credentials === "wrong" ? wrongSecret : "conformance",
      },
      visibilitySeconds,
      waitSeconds: isMoto ? 1 : 2,
      ...(isMoto && { pollers: 1 }),
    }),
  raw: async () => openRawSqsSns(endpoint, isMoto ? ["binary-headers"] : []),
  timing: { leaseMs: visibilitySeconds * 1_000, recoveryMs: isMoto ? 25_000 : 10_000, quietMs: 500 },
  powerless: true,
  upstream: { host: hostname, port: Number(port) || 80 },
  environmentSkips: {
    ...restartSkips(),
    ...(isMoto && {
      "OR-01": "a poll that began earlier gets messages of an ordered group that another reader holds",
      "DL-05": twoPolls,
      "GR-02": twoPolls,
      "G-02": tooSlow,
      "G-05": tooSlow,
      "G-06": "what two polls get at the same time has two receipts: the neighbours of a killer look like suspects",
      "G-11": tooSlow,
      "G-04d": tooSlow,
    }),
  },
  parallel: isMoto ? 2 : 6,
  async close() {
    front.close();
  },
});

export default harness;
