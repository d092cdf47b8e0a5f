import { kinds } from "./kinds.ts";
import { brokerNames, start } from "./providers.ts";
import { runTable } from "./table.ts";
import type { BrokerRequest, Log, RunningBroker, UnavailableBroker } from "./types.ts";

export { listing } from "./offers.ts";
export { brokerNames, providerNames } from "./providers.ts";
export { offerTable } from "./table.ts";
export type * from "./types.ts";

/** A running broker as @sluice/url takes it. */
export function brokerUrl({ broker, address }: RunningBroker): string {
  return kinds[broker].url(address);
}

export interface Brokers {
  readonly available: readonly RunningBroker[];
  readonly unavailable: readonly UnavailableBroker[];
  /** Broker, provider, version, address, ready in ms or why not: print it at the start of a run. */
  table(): string;
  /** Stops everything that was started here. May be called twice. */
  readonly stopAll: () => Promise<void>;
}

export interface BrokersOptions {
  /** Progress such as installations. Default: stderr. */
  readonly log?: Log;
}

/**
 * Brings brokers up. What cannot be had is reported, not thrown, unless SLUICE_REQUIRE_BROKERS
 * (`all`, or names separated by commas) asks for it: then everything is stopped again and the
 * promise rejects. Whatever is started here also ends if this process is killed.
 */
export async function brokers(requests: readonly BrokerRequest[], options: BrokersOptions = {}): Promise<Brokers> {
  const { log = (line: string) => void process.stderr.write(`brokers: ${line}\n`) } = options;
  const results = await Promise.allSettled(requests.map((request) => start(request, log)));
  const available: RunningBroker[] = [];
  const unavailable: UnavailableBroker[] = [];
  for (const [index, result] of results.entries()) {
    const request = requests[index];
    if (request === undefined) continue;
    if (result.status === "fulfilled") available.push(result.value);
    else unavailable.push({ request, why: (result.reason as Error).message });
  }
  const stopAll = async (): Promise<void> => {
    await Promise.all(available.map((broker) => broker.stop()));
  };
  const missed = unavailable.filter(({ request }) => isRequired(request));
  if (missed.length > 0) {
    await stopAll();
    const reasons = missed.map(({ request, why }) => `${request.broker} ${request.version ?? ""}: ${why}`);
    throw new Error(`SLUICE_REQUIRE_BROKERS asks for what cannot be had: ${reasons.join("\n")}`);
  }
  return { available, unavailable, table: () => runTable(available, unavailable), stopAll };
}

function isRequired(request: BrokerRequest): boolean {
  const required = (process.env["SLUICE_REQUIRE_BROKERS"] ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
  const known: readonly string[] = ["all", ...brokerNames];
  const strange = required.find((name) => !known.includes(name));
  if (strange) throw new Error(`SLUICE_REQUIRE_BROKERS: "${strange}" is none of ${known.join(", ")}`);
  return required.includes("all") || required.includes(request.broker);
}
