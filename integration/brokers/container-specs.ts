import type { GenericContainer } from "testcontainers";
import { asEnvironment, kafkaSettings } from "./kafka-settings.ts";
import { redisSettings } from "./redis-settings.ts";
import type { BrokerName } from "./types.ts";

/** How the image of a broker is run. */
export interface ContainerSpec {
  /** The port inside that clients connect to. */
  readonly port: number;
  /** Whether a restart of the container finds its messages and topics again. */
  readonly keepsData: boolean;
  /** `advertised`: where clients find the broker, `host:port`; `version` as it was asked for. */
  configure(container: GenericContainer, advertised: string, version: string | undefined): GenericContainer;
}

const asItIs = (container: GenericContainer): GenericContainer => container;

export const containerSpecs: Readonly<Record<BrokerName, ContainerSpec>> = {
  kafka: {
    port: 9092,
    keepsData: true,
    configure: (container, advertised) => {
      const listeners = { bind: "", clientPort: 9092, internalPort: 19_092, controllerPort: 19_093, advertised };
      const settings = { ...kafkaSettings(listeners), "controller.quorum.voters": "1@127.0.0.1:19093" };
      return container.withEnvironment({ ...asEnvironment(settings), KAFKA_HEAP_OPTS: "-Xmx512m -Xms256m" });
    },
  },
  rabbitmq: { port: 5672, keepsData: true, configure: asItIs },
  redis: {
    port: 6379,
    keepsData: true,
    configure: (container, _advertised, version) =>
      container.withCommand([version?.startsWith("valkey") ? "valkey-server" : "redis-server", ...redisSettings]),
  },
  // Both stand-ins of a cloud service live in memory only.
  "sqs-sns": { port: 5000, keepsData: false, configure: asItIs },
  "google-pubsub": {
    port: 8085,
    keepsData: false,
    configure: (container) =>
      container.withCommand("gcloud beta emulators pubsub start --host-port=0.0.0.0:8085 --project=sluice".split(" ")),
  },
};
