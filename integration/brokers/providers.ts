import { startContainer } from "./containers.ts";
import { externalAddress, startExternal } from "./external.ts";
import { fits, knownVersions } from "./images.ts";
import { kinds } from "./kinds.ts";
import { startNativeGooglePubsub } from "./native-google-pubsub.ts";
import { startNativeKafka } from "./native-kafka.ts";
import { startNativeRabbit } from "./native-rabbitmq.ts";
import { startNativeRedis } from "./native-redis.ts";
import { startNativeSqsSns } from "./native-sqs-sns.ts";
import type { BrokerName, BrokerRequest, Log, ProviderName, RunningBroker, StartBroker } from "./types.ts";

export const brokerNames: readonly BrokerName[] = ["kafka", "rabbitmq", "redis", "sqs-sns", "google-pubsub"];
export const providerNames: readonly ProviderName[] = ["external", "containers", "native"];

const natives: Readonly<Record<BrokerName, StartBroker>> = {
  kafka: startNativeKafka,
  rabbitmq: startNativeRabbit,
  redis: startNativeRedis,
  "sqs-sns": startNativeSqsSns,
  "google-pubsub": startNativeGooglePubsub,
};

const starters: Readonly<Record<ProviderName, StartBroker>> = {
  external: startExternal,
  containers: startContainer,
  native: (request, log) => natives[request.broker](request, log),
};

/** Starts what was asked for; without a provider, the first one that has it. Rejects with every reason. */
export async function start(request: BrokerRequest, log: Log): Promise<RunningBroker> {
  if (request.provider) return starters[request.provider](request, log);
  const reasons: string[] = [];
  for (const provider of providerNames) {
    const obstacle = skipped(provider, request);
    if (obstacle !== undefined) {
      reasons.push(`${provider}: ${obstacle}`);
      continue;
    }
    try {
      return await starters[provider](request, log);
    } catch (error) {
      const { message } = error as Error;
      reasons.push(`${provider}: ${message}`);
      log(`${request.broker}: ${provider} is not possible: ${message}`);
    }
  }
  throw new Error(reasons.join("; "));
}

/** Why a provider is passed over without an attempt. */
function skipped(provider: ProviderName, { broker, version }: BrokerRequest): string | undefined {
  if (provider === "external" && !externalAddress(broker)) return `${kinds[broker].variable} is not set`;
  // Some other tag may exist in a registry, but then it has to be asked for by `provider`.
  if (provider === "containers" && !knownVersions(broker).some((known) => fits(known, version))) {
    return `no image for version ${version}`;
  }
  return undefined;
}
