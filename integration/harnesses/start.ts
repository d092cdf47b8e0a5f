/** Brings a broker up for a harness, and tells the harness (and its child processes) through the environment where it is. */
import { readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";
import { type BrokerControl, catalogue } from "@sluice/conformance";
import { type BrokerName, brokers, type ProviderName, type RunningBroker } from "../brokers/index.ts";

/** The broker that each harness needs: the module `<name>.ts` beside this one. */
export const harnesses: Readonly<Record<HarnessName, BrokerName>> = {
  kafka: "kafka",
  rabbitmq: "rabbitmq",
  redis: "redis",
  "redis-pubsub": "redis",
  "sqs-sns": "sqs-sns",
  "google-pubsub": "google-pubsub",
};

export type HarnessName = BrokerName | "redis-pubsub";

export interface StartedBroker {
  readonly running: RunningBroker;
  readonly control: BrokerControl | undefined;
  stop(): Promise<void>;
}

/** @throws Error with the reason when the broker cannot be had */
export async function startForConformance(
  name: HarnessName,
  provider: ProviderName | undefined,
  version: string | undefined,
  print: (line: string) => void,
): Promise<StartedBroker> {
  const broker = harnesses[name];
  const request = { broker, ...(provider && { provider }), ...(version && { version }) };
  const started = await brokers([request], { log: print });
  print(started.table());
  const [running] = started.available;
  if (!running) throw new Error(`${broker} cannot be had: ${started.unavailable[0]?.why ?? "no reason was given"}`);
  announce(running);
  await addPowerless(running);
  return { running, control: controlOf(running), stop: () => started.stopAll() };
}

/** RabbitMQ: a user who may connect and do nothing else, where we may make one. Its password is `powerless` too. */
export async function addPowerless({ control }: RunningBroker): Promise<void> {
  if (!control?.rabbitmqctl) return;
  await control.rabbitmqctl("add_user", "powerless", "powerless");
  await control.rabbitmqctl("set_permissions", "-p", "/", "powerless", "^$", "^$", "^$");
  process.env["CONFORMANCE_POWERLESS"] = "true";
}

/** Environment variables are the only way to reach a child process that loads the harness by its path. */
export function announce(running: RunningBroker): void {
  Object.assign(process.env, running.environmentVariables, {
    CONFORMANCE_VERSION: running.version,
    CONFORMANCE_PROVIDER: running.provider,
    CONFORMANCE_ENVIRONMENT: running.environment,
    CONFORMANCE_KEEPS_DATA: String(running.keepsData ?? true),
  });
}

/** What {@link announce} stated; a broker that somebody else announced is an external one. */
export function announced(name: string): {
  readonly kind: "service" | "broker" | "emulator" | "fake";
  readonly name: string;
  readonly version: string;
  readonly provider: string;
  readonly keepsData: boolean;
} {
  const {
    CONFORMANCE_VERSION = "",
    CONFORMANCE_PROVIDER = "external",
    CONFORMANCE_ENVIRONMENT = "broker",
    CONFORMANCE_KEEPS_DATA = "true",
  } = process.env;
  const kind = CONFORMANCE_ENVIRONMENT as RunningBroker["environment"];
  const keepsData = CONFORMANCE_KEEPS_DATA === "true";
  return { kind, name, version: CONFORMANCE_VERSION, provider: CONFORMANCE_PROVIDER, keepsData };
}

/**
 * Environment skips for a broker that forgets everything when it stops: the cases that stop it. A harness spreads them into its
 * own `environmentSkips`.
 */
export function restartSkips(): Readonly<Record<string, string>> {
  if (process.env["CONFORMANCE_KEEPS_DATA"] !== "false") return {};
  const reason = "keeps everything in memory: a restart loses topics and messages by itself";
  const affected = catalogue.filter(({ uses }) => uses?.includes("control"));
  return Object.fromEntries(affected.map(({ id }) => [id, reason]));
}

function controlOf({ control }: RunningBroker): BrokerControl | undefined {
  if (!control) return undefined;
  const cycle = (mode: "graceful" | "kill") => async (downMs: number) => {
    await control.stop(mode);
    await new Promise((resolve) => setTimeout(resolve, downMs));
    await control.start();
  };
  return { restart: cycle("graceful"), kill: cycle("kill") };
}

/** The installed version of a client library, for the report. */
export function versionOf(library: string): string {
  const file = findPackageJSON(library, import.meta.url);
  if (file === undefined) throw new Error(`${library} is not installed`);
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version;
}
