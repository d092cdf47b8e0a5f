// The only place that knows which broker it is.
import type { Driver } from "@sluice/core/driver";
import { fromUrl } from "@sluice/url";

export const brokerNames = ["memory", "kafka", "rabbitmq", "redis", "sqs-sns", "google-pubsub"] as const;
export type BrokerName = (typeof brokerNames)[number];

export interface ChosenBroker {
  readonly driver: Driver;
  /** Ends what was started here. */
  stop(): Promise<void>;
}

export type Log = (line: string) => void;

/** The broker cannot be had on this machine. */
export class UnavailableBrokerError extends Error {}

/**
 * Takes the broker whose address is in the environment; without one, brings a broker up for this run. For this repository only:
 * a service of your own says `fromUrl(process.env.BROKER_URL)`, or imports the adapter.
 *
 * @throws UnavailableBrokerError
 */
export async function chooseBroker(name: BrokerName, log: Log): Promise<ChosenBroker> {
  if (name === "memory") return { driver: await fromUrl("memory:"), stop: () => Promise.resolve() };
  const { brokers, brokerUrl } = await import("../../integration/brokers/index.ts");
  log(`bringing ${name} up; the first time may take a while`);
  const running = await brokers([{ broker: name }], { log });
  const broker = running.available[0];
  if (!broker) {
    throw new UnavailableBrokerError(`${name} cannot be had here: ${running.unavailable[0]?.why ?? "no reason given"}`);
  }
  log(running.table());
  // Clients look there for what no URL says: region, project, credentials.
  Object.assign(process.env, broker.environmentVariables);
  return { driver: await fromUrl(brokerUrl(broker)), stop: () => running.stopAll() };
}
