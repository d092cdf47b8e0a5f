import { probeAws, probeKafka, probePubsub, probeRabbit, probeRedis } from "./probes.ts";
import type { BrokerAddress, BrokerName, EnvironmentKind } from "./types.ts";

/** What differs from broker to broker, whatever provider it comes from. */
export interface BrokerKind {
  /** The variable that holds the address of a broker somebody else runs. */
  readonly variable: string;
  /** Not every protocol tells a version; whoever runs the broker may state it here. */
  readonly versionVariable: string;
  /** Services of docker-compose.yml that speak the protocol, the default first. */
  readonly services: readonly [string, ...string[]];
  /** Versions that containers and Maven are known to have beside the ones in docker-compose.yml. */
  readonly furtherVersions: readonly string[];
  readonly environment: (address: BrokerAddress) => EnvironmentKind;
  /** `host:port` of a broker that was started here, as clients want it. */
  readonly address: (endpoint: string) => BrokerAddress;
  /** The same from the value of `variable`. */
  readonly parse: (value: string) => BrokerAddress;
  /** Environment variables that lead clients, and the provider `external`, to the broker. */
  readonly variables: (address: BrokerAddress) => Readonly<Record<string, string>>;
  /** The address as @sluice/url takes it. */
  readonly url: (address: BrokerAddress) => string;
  /** One real request. Resolves with the server's version, as far as it says. */
  readonly probe: (address: BrokerAddress) => Promise<string | undefined>;
}

const always = (kind: EnvironmentKind) => (): EnvironmentKind => kind;
const urlAddress = (url: string): BrokerAddress => ({ kind: "url", url });

/** Kafka's list as its clients' environment variables write it; the URL of every other broker. */
export function addressValue(address: BrokerAddress): string {
  return address.kind === "brokers" ? address.brokers.join(",") : address.url;
}

function brokerList(value: string): BrokerAddress {
  const parts = value.split(",").map((part) => part.trim());
  return { kind: "brokers", brokers: parts.filter(Boolean) };
}

export const kinds: Readonly<Record<BrokerName, BrokerKind>> = {
  kafka: {
    variable: "KAFKA_BROKERS",
    versionVariable: "KAFKA_VERSION",
    services: ["kafka"],
    furtherVersions: ["3.9.2"],
    environment: always("broker"),
    address: brokerList,
    parse: brokerList,
    variables: (address) => ({ KAFKA_BROKERS: addressValue(address) }),
    url: (address) => `kafka://${addressValue(address)}`,
    probe: (address) => probeKafka(addressValue(address).split(",")),
  },
  rabbitmq: {
    variable: "RABBITMQ_URL",
    versionVariable: "RABBITMQ_VERSION",
    services: ["rabbitmq"],
    furtherVersions: [],
    environment: always("broker"),
    address: (endpoint) => urlAddress(`amqp://guest:guest@${endpoint}`),
    parse: urlAddress,
    variables: (address) => ({ RABBITMQ_URL: addressValue(address) }),
    url: addressValue,
    probe: (address) => probeRabbit(addressValue(address)),
  },
  redis: {
    variable: "REDIS_URL",
    versionVariable: "REDIS_VERSION",
    services: ["redis", "valkey"],
    furtherVersions: [],
    environment: always("broker"),
    address: (endpoint) => urlAddress(`redis://${endpoint}`),
    parse: urlAddress,
    variables: (address) => ({ REDIS_URL: addressValue(address) }),
    url: addressValue,
    probe: (address) => probeRedis(addressValue(address)),
  },
  "sqs-sns": {
    variable: "AWS_ENDPOINT_URL",
    versionVariable: "AWS_VERSION",
    services: ["moto"],
    furtherVersions: [],
    environment: (address) => (new URL(addressValue(address)).hostname.endsWith(".amazonaws.com") ? "service" : "fake"),
    address: (endpoint) => urlAddress(`http://${endpoint}`),
    parse: urlAddress,
    variables: (address) => ({
      AWS_ENDPOINT_URL: addressValue(address),
      AWS_REGION: "us-east-1",
      // The stand-ins take any pair, but the SDK does not send a request without one.
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
    }),
    url: (address) => {
      const { AWS_REGION = "us-east-1", AWS_ACCESS_KEY_ID } = process.env;
      const keys = AWS_ACCESS_KEY_ID ? "" : "test:test@";
      return `sqs://${keys}${AWS_REGION}?endpoint=${addressValue(address)}`;
    },
    probe: (address) => probeAws(addressValue(address)),
  },
  "google-pubsub": {
    variable: "PUBSUB_EMULATOR_HOST",
    versionVariable: "PUBSUB_VERSION",
    services: ["google-pubsub"],
    furtherVersions: [],
    environment: always("emulator"),
    address: (endpoint) => urlAddress(`http://${endpoint}`),
    parse: (value) => urlAddress(`http://${value}`),
    variables: (address) => ({
      PUBSUB_EMULATOR_HOST: new URL(addressValue(address)).host,
      PUBSUB_PROJECT_ID: "sluice",
      // n.b. else the client looks for Google's metadata server first, even for an emulator: a warning and a second.
      METADATA_SERVER_DETECTION: "none",
    }),
    url: (address) => `pubsub://sluice?endpoint=${new URL(addressValue(address)).host}`,
    probe: (address) => probePubsub(addressValue(address)),
  },
};
