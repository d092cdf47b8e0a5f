import { containerEngine, startContainer } from "./containers.ts";
import { addressVariables, externalAddress, startExternal } from "./external.ts";
import { fits, imageOf, knownVersions } from "./images.ts";
import { canInstall, findJava, findProgram, isExecutable, kafkaIsCached } from "./install.ts";
import { startNativeKafka } from "./native-kafka.ts";
import { installedVersion, rabbitPrograms, startNativeRabbit } from "./native-rabbitmq.ts";
import type { BrokerName, BrokerRequest, Log, Offer, ProviderName, RunningBroker, StartBroker } from "./types.ts";

export const brokerNames: readonly BrokerName[] = ["kafka", "rabbitmq"];
export const providerNames: readonly ProviderName[] = ["external", "containers", "native"];

const natives: Readonly<Record<BrokerName, StartBroker>> = { kafka: startNativeKafka, rabbitmq: startNativeRabbit };

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
  if (provider === "external" && !externalAddress(broker)) return `${addressVariables[broker]} is not set`;
  // Some other tag may exist in a registry, but then it has to be asked for by `provider`.
  if (provider === "containers" && !knownVersions(broker).some((known) => fits(known, version))) {
    return `no image for version ${version}`;
  }
  return undefined;
}

/** What can be had on this machine, without starting or installing anything. */
export async function listing(): Promise<Offer[]> {
  const [containers, kafka, rabbit] = await Promise.all([containerOffers(), nativeKafkaOffers(), nativeRabbitOffer()]);
  const external = brokerNames.map((broker): Offer => {
    const offer = { broker, provider: "external", version: "its own" } as const;
    return externalAddress(broker) ? offer : { ...offer, why: `${addressVariables[broker]} is not set` };
  });
  const order = (offer: Offer): number =>
    brokerNames.indexOf(offer.broker) * 10 + providerNames.indexOf(offer.provider);
  return [...external, ...containers, ...kafka, rabbit].toSorted((one, other) => order(one) - order(other));
}

async function containerOffers(): Promise<Offer[]> {
  const why = await containerEngine().then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
  return brokerNames.flatMap((broker) =>
    knownVersions(broker).map((version) => {
      const offer = { broker, provider: "containers", version } as const;
      return why === undefined ? { ...offer, note: imageOf(broker, version) } : { ...offer, why };
    }),
  );
}

async function nativeKafkaOffers(): Promise<Offer[]> {
  const java = await findJava();
  const maven = await findProgram("mvn");
  const installable = await canInstall();
  const offers = knownVersions("kafka").map(async (version): Promise<Offer> => {
    const offer = { broker: "kafka", provider: "native", version } as const;
    const cached = await kafkaIsCached(version);
    const missing = [java ? "" : "Java 17", maven || cached ? "" : "Maven"].filter(Boolean).join(" and ");
    if (missing && !installable) return { ...offer, why: `${missing} missing` };
    const notes = [missing && `installs ${missing}`, cached ? "" : "fetches it with Maven"];
    return { ...offer, note: notes.filter(Boolean).join(", ") };
  });
  return Promise.all(offers);
}

async function nativeRabbitOffer(): Promise<Offer> {
  const offer = { broker: "rabbitmq", provider: "native" } as const;
  if (await isExecutable(`${rabbitPrograms}/rabbitmq-server`)) return { ...offer, version: await installedVersion() };
  const version = "distribution's";
  if (await canInstall()) return { ...offer, version, note: "installs rabbitmq-server" };
  return { ...offer, version, why: "rabbitmq-server is not installed" };
}
