// The only place that knows which broker it is.
import type { Driver } from "@sluice/core/driver";
import { memory } from "@sluice/memory";

export const brokerNames = ["memory", "kafka", "rabbitmq"] as const;
export type BrokerName = (typeof brokerNames)[number];

export interface ChosenBroker {
  readonly driver: Driver;
  /** Ends what was started here. */
  stop(): Promise<void>;
}

export type Log = (line: string) => void;

/** Takes the address from KAFKA_BROKERS or RABBITMQ_URL; without it, brings a broker up for this run. */
export function chooseBroker(name: BrokerName, log: Log): Promise<ChosenBroker> {
  switch (name) {
    case "memory":
      return Promise.resolve({ driver: memory(), stop: () => Promise.resolve() });
    case "kafka":
      return chooseKafka(log);
    case "rabbitmq":
      return chooseRabbit(log);
  }
}

async function chooseKafka(log: Log): Promise<ChosenBroker> {
  const { kafka } = await import("@sluice/kafka");
  const found = await find("kafka", process.env["KAFKA_BROKERS"], log);
  return { driver: kafka({ brokers: found.address.split(",").map((each) => each.trim()) }), stop: () => found.stop() };
}

async function chooseRabbit(log: Log): Promise<ChosenBroker> {
  const { rabbitmq } = await import("@sluice/rabbitmq");
  const found = await find("rabbitmq", process.env["RABBITMQ_URL"], log);
  return { driver: rabbitmq({ url: found.address }), stop: () => found.stop() };
}

interface Found {
  readonly address: string;
  stop(): Promise<void>;
}

async function find(name: "kafka" | "rabbitmq", given: string | undefined, log: Log): Promise<Found> {
  if (given) return { address: given, stop: () => Promise.resolve() };
  // For this repository only: a service of your own has its address in the environment.
  const { brokers } = await import("../../integration/brokers/index.ts");
  log(`bringing ${name} up; the first time may take a while`);
  const running = await brokers([{ broker: name }], { log });
  const broker = running.available[0];
  if (!broker) throw new Error(`${name} cannot be had here: ${running.unavailable[0]?.why ?? "no reason given"}`);
  const { address } = broker;
  log(running.table());
  return {
    address: address.kind === "brokers" ? address.brokers.join(",") : address.url,
    stop: () => running.stopAll(),
  };
}
