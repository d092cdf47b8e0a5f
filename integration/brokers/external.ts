import { fits } from "./images.ts";
import { untilReady } from "./ready.ts";
import type { BrokerAddress, BrokerName, BrokerRequest, RunningBroker } from "./types.ts";

/** The variable that holds the address of a broker somebody else runs. */
export const addressVariables: Readonly<Record<BrokerName, string>> = {
  kafka: "KAFKA_BROKERS",
  rabbitmq: "RABBITMQ_URL",
};

/** Kafka's protocol does not tell a version; whoever runs the broker may state it. */
const statedVersions: Readonly<Record<BrokerName, string>> = {
  kafka: "KAFKA_VERSION",
  rabbitmq: "RABBITMQ_VERSION",
};

export function externalAddress(broker: BrokerName): BrokerAddress | undefined {
  const value = process.env[addressVariables[broker]]?.trim();
  if (!value) return undefined;
  if (broker === "rabbitmq") return { kind: "url", url: value };
  return {
    kind: "brokers",
    brokers: value
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean),
  };
}

/** A broker named in the environment. It is used as it is and never stopped. */
export async function startExternal(request: BrokerRequest): Promise<RunningBroker> {
  const { broker } = request;
  const variable = addressVariables[broker];
  const address = externalAddress(broker);
  if (!address) throw new Error(`${variable} is not set`);
  const since = Date.now();
  const said = await untilReady(address, { within: 5_000 }).catch((error: unknown) => {
    throw new Error(`${variable} is set, but the broker ${(error as Error).message}`, { cause: error });
  });
  const version = said ?? process.env[statedVersions[broker]] ?? "unknown";
  if (version !== "unknown" && !fits(version, request.version)) {
    throw new Error(`${variable} leads to version ${version}, not ${request.version}`);
  }
  return {
    broker,
    provider: "external",
    version,
    environment: "broker",
    address,
    environmentVariables: { [variable]: process.env[variable] ?? "" },
    readyAfter: Date.now() - since,
    stop: async () => {},
  };
}
