import { type Address, defineHarness, type DriverVariant, type Harness, wrongSecret } from "@sluice/conformance";
import { kafka, type KafkaOptions } from "@sluice/kafka";
import { openRawKafka } from "./raw-kafka.ts";
import { announced, versionOf } from "./start.ts";

const brokers = (process.env["KAFKA_BROKERS"] ?? "localhost:9092").split(",");

// A listener of its own, which sends its clients to the port of the kit's proxy: only brokers that we configure have one.
const { KAFKA_PROXIED: proxied, KAFKA_PROXY_PORT: proxyPort } = process.env;
// And one with a login, whose only user may do nothing.
const secured = process.env["KAFKA_SECURED"];
const upstream = proxied === undefined ? undefined : { ...placeOf(proxied), listen: Number(proxyPort) };

const advertised = "clients follow the address that the broker advertises, past any proxy";
const withoutProxy = upstream
  ? []
  : ["G-04a", "G-04b", "G-04c", "G-04d", "G-11"].map((id) => [id, advertised] as const);

function placeFor({ via, credentials }: DriverVariant): Pick<KafkaOptions, "brokers" | "sasl"> {
  if (via) return { brokers: [`${via.host}:${via.port}`] };
  if (credentials === undefined || secured === undefined) return { brokers };
  const password = credentials === "wrong" ? wrongSecret : "powerless";
  return { brokers: [secured], sasl: { mechanism: "PLAIN", username: "powerless", password } };
}

function placeOf(address: string): Address {
  const { hostname, port } = new URL(`kafka://${address}`);
  return { host: hostname, port: Number(port) };
}

const harness: Harness = defineHarness({
  adapter: "@sluice/kafka",
  environment: announced("kafka"),
  clients: { kafkajs: versionOf("kafkajs") },
  driver: (variant = {}) =>
    kafka({
      ...placeFor(variant),
      // The shortest session that brokers accept: a dead member's partitions move after it.
      sessionTimeout: 6_000,
      rebalanceTimeout: 10_000,
      heartbeatInterval: 500,
      fetchWait: 100,
    }),
  raw: () => openRawKafka(brokers),
  ...(upstream && { upstream }),
  ...(secured !== undefined && { powerless: true }),
  // n.b. A bus that delays nothing itself begins to forward what others left waiting after 10 to 20 s.
  timing: { leaseMs: 6_000, recoveryMs: 15_000, quietMs: 1_000, delayedLateMs: 20_000 },
  environmentSkips: {
    ...Object.fromEntries(withoutProxy),
    ...(secured === undefined && { "G-27": "the broker's listeners are PLAINTEXT: they know no credentials" }),
  },
  parallel: 3,
});

export default harness;
