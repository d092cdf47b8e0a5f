import { parseArgs } from "node:util";
import { brokerNames, brokers, brokerUrl, listing, offerTable, providerNames, type BrokerRequest } from "./index.ts";

const help = `Starts brokers for development and keeps them until Ctrl-C.

  node --conditions=@sluice/source integration/brokers/cli.ts [options]

  --broker NAME      ${brokerNames.join(", ")}; may be repeated; default: all of them
  --provider NAME    ${providerNames.join(", ")}; default: the first that has it
  --version VERSION  for example 3.9.2 or valkey-9.1; default: the provider's own
  --list             only shows what can be had on this machine
  --json             one line of JSON on stdout once everything is ready
  --help             this text
`;

function oneOf<T extends string>(option: string, value: string, names: readonly T[]): T {
  const name = names.find((candidate) => candidate === value);
  if (!name) throw new Error(`--${option} ${value}: is none of ${names.join(", ")}`);
  return name;
}

function readArguments(): { list: boolean; json: boolean; help: boolean; requests: BrokerRequest[] } {
  const { values } = parseArgs({
    options: {
      broker: { type: "string", multiple: true, default: [...brokerNames] },
      provider: { type: "string" },
      version: { type: "string" },
      list: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const requests = values.broker.map((broker): BrokerRequest => ({
    broker: oneOf("broker", broker, brokerNames),
    ...(values.provider && { provider: oneOf("provider", values.provider, providerNames) }),
    ...(values.version && { version: values.version }),
  }));
  return { list: values.list, json: values.json, help: values.help, requests };
}

async function main(): Promise<number> {
  const options = readArguments();
  if (options.help) {
    console.log(help);
    return 0;
  }
  if (options.list) {
    console.log(offerTable(await listing()));
    return 0;
  }
  const running = await brokers(options.requests);
  if (options.json)
    console.log(
      JSON.stringify(
        running.available.map((broker) => ({ ...broker, url: brokerUrl(broker), pid: broker.local?.pid() })),
      ),
    );
  else console.log(running.table());
  if (running.available.length === 0) return 1;
  const variables = Object.assign({}, ...running.available.map((broker) => broker.environmentVariables)) as object;
  if (!options.json) {
    for (const [name, value] of Object.entries(variables)) console.log(`export ${name}=${value}`);
    for (const broker of running.available) console.log(`# BROKER_URL=${brokerUrl(broker)}`);
    console.log("Ctrl-C stops them.");
  }
  await untilSignal();
  await running.stopAll();
  return 0;
}

function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    // Nothing else keeps the process alive: brokers are unreferenced on purpose.
    const stay = setInterval(() => {}, 1 << 30);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.once(signal, () => {
        clearInterval(stay);
        resolve();
      });
    }
  });
}

process.exitCode = await main().catch((error: unknown) => {
  console.error(`brokers: ${(error as Error).message}`);
  return 1;
});
