import { fits } from "./images.ts";
import { kinds } from "./kinds.ts";
import { untilReady } from "./ready.ts";
import type { BrokerAddress, BrokerName, BrokerRequest, RunningBroker } from "./types.ts";

export function externalAddress(broker: BrokerName): BrokerAddress | undefined {
  const { variable, parse } = kinds[broker];
  const value = process.env[variable]?.trim();
  return value ? parse(value) : undefined;
}

/** Milliseconds for an address where nobody listens. A broker that answers, but does not serve yet, gets longer. */
const patience = 5_000;
const unreachable = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ETIMEDOUT|timeout/i;

/** A broker named in the environment. It is used as it is and never stopped. */
export async function startExternal(request: BrokerRequest): Promise<RunningBroker> {
  const { broker } = request;
  const { variable, versionVariable, environment, variables } = kinds[broker];
  const address = externalAddress(broker);
  if (!address) throw new Error(`${variable} is not set`);
  const since = Date.now();
  const hopeless = ({ message }: Error): string | undefined =>
    unreachable.test(message) && Date.now() - since > patience ? `did not answer within ${patience} ms` : undefined;
  const said = await untilReady(broker, address, { within: 30_000, hopeless }).catch((error: unknown) => {
    throw new Error(`${variable} is set, but the broker ${(error as Error).message}`, { cause: error });
  });
  const version = said ?? process.env[versionVariable] ?? "unknown";
  if (version !== "unknown" && !fits(version, request.version)) {
    throw new Error(`${variable} leads to version ${version}, not ${request.version}`);
  }
  return {
    broker,
    provider: "external",
    version,
    environment: environment(address),
    address,
    environmentVariables: { ...variables(address), ...stated(Object.keys(variables(address))) },
    readyAfter: Date.now() - since,
    stop: async () => {},
  };
}

/** Region, project and credentials that whoever runs the broker has set already. */
function stated(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}
