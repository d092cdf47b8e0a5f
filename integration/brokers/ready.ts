import { setTimeout as delay } from "node:timers/promises";
import { connect } from "amqplib";
import { Kafka, logLevel } from "kafkajs";
import type { BrokerAddress } from "./types.ts";

export interface ReadyOptions {
  /** Milliseconds until we give up. Default 90 s: Kafka needs 20 s after SIGKILL on a quiet machine. */
  readonly within?: number;
  /** Says why waiting is pointless, for example that the process has ended. */
  readonly hopeless?: () => string | undefined | Promise<string | undefined>;
  /** The end of the broker's log, for the error message. */
  readonly tail?: () => Promise<string>;
}

const probeLimit = 10_000;

/** Resolves with the server's version, as far as it says, once the broker really serves. */
export async function untilReady(address: BrokerAddress, options: ReadyOptions = {}): Promise<string | undefined> {
  const { within = 90_000, hopeless, tail } = options;
  const deadline = Date.now() + within;
  for (;;) {
    const failure = await probe(address).catch((error: unknown) => error as Error);
    if (!(failure instanceof Error)) return failure;
    const end = (await hopeless?.()) ?? (Date.now() > deadline ? `did not answer within ${within} ms` : undefined);
    if (end !== undefined) {
      const log = tail ? `\nend of its log:\n${await tail()}` : "";
      throw new Error(`${end}; last answer: ${failure.message}${log}`, { cause: failure });
    }
    await delay(200);
  }
}

/** One attempt. */
export function probe(address: BrokerAddress): Promise<string | undefined> {
  return address.kind === "url" ? probeRabbit(address.url) : probeKafka(address.brokers);
}

async function probeKafka(brokers: readonly string[]): Promise<undefined> {
  const kafka = new Kafka({
    clientId: "sluice-readiness",
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 3_000,
    requestTimeout: probeLimit,
    retry: { retries: 0 },
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    await admin.describeCluster();
    // The port opens a moment before the coordinators serve; asking for groups makes Kafka create
    // its offsets topic, and fails until every coordinator has loaded its share of it.
    const names = Array.from({ length: 20 }, (_, index) => `sluice-readiness-${index}`);
    await admin.describeGroups(names);
  } finally {
    await admin.disconnect().catch(() => {});
  }
}

async function probeRabbit(url: string): Promise<string | undefined> {
  const connection = await connect(url, { timeout: probeLimit });
  connection.on("error", () => {});
  try {
    const channel = await connection.createChannel();
    await channel.close();
    const version: unknown = connection.connection.serverProperties["version"];
    return typeof version === "string" ? version : undefined;
  } finally {
    await connection.close().catch(() => {});
  }
}
