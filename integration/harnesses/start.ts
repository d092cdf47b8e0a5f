/** Brings a broker up for a harness, and tells the harness (and its child processes) through the environment where it is. */
import { readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";
import type { BrokerControl } from "@sluice/conformance";
import { type BrokerName, brokers, type ProviderName, type RunningBroker } from "../brokers/index.ts";

export interface StartedBroker {
  readonly running: RunningBroker;
  readonly control: BrokerControl | undefined;
  stop(): Promise<void>;
}

/** @throws Error with the reason when the broker cannot be had */
export async function startForConformance(
  broker: BrokerName,
  provider: ProviderName | undefined,
  version: string | undefined,
  print: (line: string) => void,
): Promise<StartedBroker> {
  const request = { broker, ...(provider && { provider }), ...(version && { version }) };
  const started = await brokers([request], { log: print });
  print(started.table());
  const [running] = started.available;
  if (!running) throw new Error(`${broker} cannot be had: ${started.unavailable[0]?.why ?? "no reason was given"}`);
  announce(running);
  return { running, control: controlOf(running), stop: () => started.stopAll() };
}

/** Environment variables are the only way to reach a child process that loads the harness by its path. */
export function announce(running: RunningBroker): void {
  Object.assign(process.env, running.environmentVariables, {
    CONFORMANCE_VERSION: running.version,
    CONFORMANCE_PROVIDER: running.provider,
    CONFORMANCE_ENVIRONMENT: running.environment,
  });
}

/** What {@link announce} stated; a broker that somebody else announced is an external one. */
export function announced(name: string): {
  readonly kind: "service" | "broker" | "emulator" | "fake";
  readonly name: string;
  readonly version: string;
  readonly provider: string;
} {
  const {
    CONFORMANCE_VERSION = "",
    CONFORMANCE_PROVIDER = "external",
    CONFORMANCE_ENVIRONMENT = "broker",
  } = process.env;
  const kind = CONFORMANCE_ENVIRONMENT as RunningBroker["environment"];
  return { kind, name, version: CONFORMANCE_VERSION, provider: CONFORMANCE_PROVIDER };
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
