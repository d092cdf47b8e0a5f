import { defineHarness, type Harness } from "@sluice/conformance";
import { kafka } from "@sluice/kafka";
import { openRawKafka } from "./raw-kafka.ts";
import { announced, versionOf } from "./start.ts";

const brokers = (process.env["KAFKA_BROKERS"] ?? "localhost:9092").split(",");

// n.b. so there is no `upstream`; restarts of the broker (G-03) are the network faults of this harness.
const advertised = "clients follow the address that the broker advertises, past any proxy";

const harness: Harness = defineHarness({
  adapter: "@sluice/kafka",
  environment: announced("kafka"),
  clients: { kafkajs: versionOf("kafkajs") },
  driver: (variant = {}) =>
    kafka({
      brokers: variant.via ? [`${variant.via.host}:${variant.via.port}`] : brokers,
      // The shortest session that brokers accept: a dead member's partitions move after it.
      sessionTimeout: 6_000,
      rebalanceTimeout: 10_000,
      heartbeatInterval: 500,
      fetchWait: 100,
    }),
  raw: () => openRawKafka(brokers),
  timing: { leaseMs: 6_000, recoveryMs: 15_000, quietMs: 1_000 },
  environmentSkips: {
    "G-04a": advertised,
    "G-04b": advertised,
    "G-04c": advertised,
    "G-04d": advertised,
    "G-11": advertised,
    "G-27": "the broker's listener is PLAINTEXT: it knows no credentials",
  },
  parallel: 3,
});

export default harness;
