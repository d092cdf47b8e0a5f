import { containerEngine } from "./containers.ts";
import { externalAddress } from "./external.ts";
import { imageOf, knownVersions } from "./images.ts";
import { canInstall, findJava, findProgram, isExecutable, kafkaIsCached } from "./install.ts";
import { kinds } from "./kinds.ts";
import { emulatorMissing, findEmulator } from "./native-google-pubsub.ts";
import { installedVersion, rabbitPrograms } from "./native-rabbitmq.ts";
import { installedRedis } from "./native-redis.ts";
import { installedFauxqs } from "./native-sqs-sns.ts";
import { brokerNames, providerNames } from "./providers.ts";
import type { BrokerName, Offer } from "./types.ts";

const natives: Readonly<Record<BrokerName, () => Promise<readonly Offer[]>>> = {
  kafka: kafkaOffers,
  rabbitmq: rabbitOffers,
  redis: redisOffers,
  "sqs-sns": fauxqsOffers,
  "google-pubsub": emulatorOffers,
};

/** What can be had on this machine, without starting or installing anything. */
export async function listing(): Promise<Offer[]> {
  const offers = await Promise.all([
    externalOffers(),
    containerOffers(),
    ...brokerNames.map((broker) => natives[broker]()),
  ]);
  const order = (offer: Offer): number =>
    brokerNames.indexOf(offer.broker) * 10 + providerNames.indexOf(offer.provider);
  return offers.flat().toSorted((one, other) => order(one) - order(other));
}

function externalOffers(): Promise<readonly Offer[]> {
  const offers = brokerNames.map((broker): Offer => {
    const offer = { broker, provider: "external", version: "its own" } as const;
    return externalAddress(broker) ? offer : { ...offer, why: `${kinds[broker].variable} is not set` };
  });
  return Promise.resolve(offers);
}

async function containerOffers(): Promise<readonly Offer[]> {
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

async function kafkaOffers(): Promise<readonly Offer[]> {
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

async function rabbitOffers(): Promise<readonly Offer[]> {
  if (!(await isExecutable(`${rabbitPrograms}/rabbitmq-server`))) return [await installable("rabbitmq")];
  return [{ broker: "rabbitmq", provider: "native", version: await installedVersion() }];
}

async function redisOffers(): Promise<readonly Offer[]> {
  const server = await findProgram("redis-server");
  if (server === undefined) return [await installable("redis")];
  return [{ broker: "redis", provider: "native", version: await installedRedis(server) }];
}

/** From Debian's package, whose version is known once it is here. */
async function installable(broker: "rabbitmq" | "redis"): Promise<Offer> {
  const offer = { broker, provider: "native", version: "distribution's" } as const;
  const name = `${broker}-server`;
  return (await canInstall()) ? { ...offer, note: `installs ${name}` } : { ...offer, why: `${name} is not installed` };
}

function fauxqsOffers(): Promise<readonly Offer[]> {
  const version = installedFauxqs();
  const offer = { broker: "sqs-sns", provider: "native", version: version ?? "fauxqs" } as const;
  return Promise.resolve([version === undefined ? { ...offer, why: "fauxqs is not installed" } : offer]);
}

async function emulatorOffers(): Promise<readonly Offer[]> {
  const emulator = await findEmulator();
  const offer = { broker: "google-pubsub", provider: "native", version: emulator?.version ?? "the SDK's" } as const;
  if (!emulator) return [{ ...offer, why: emulatorMissing }];
  if (await findJava()) return [offer];
  return [(await canInstall()) ? { ...offer, note: "installs Java 17" } : { ...offer, why: "Java 17 missing" }];
}
