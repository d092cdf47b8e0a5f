/** Sluice beside the raw clients, on real brokers: `npm run bench:brokers -- --help`. */
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { type ProviderName, providerNames } from "../brokers/index.ts";
import { startForConformance, versionOf } from "../harnesses/start.ts";
import { type Broker, brokerNames, type Scenario, scenarios } from "./contender.ts";
import { measure, type Measurement } from "./pairs.ts";
import { tables } from "./tables.ts";

const help = `npm run bench:brokers -- [options]

Compares Sluice with the raw clients at their best, on a real broker. Every repetition runs all contenders of a scenario one
after the other, in changing order, each in a process of its own; ratios are taken within a repetition. Absolute figures say
little on a shared machine; ratios say more.

  --broker NAME      kafka or rabbitmq                            (default: both, one after the other)
  --scenario NAME    only this one; may be repeated: ${scenarios.join(", ")}
  --contender NAME   only this one; may be repeated               (default: all)
  --messages N       messages of publish and consume; the slow scenarios take a part of it (default: 50000)
  --pairs N          repetitions                                  (default: 5)
  --provider NAME    native, containers or external               (default: the first that works)
  --profile FOLDER   processor profiles of the children
  --json FILE        every single figure
  --help             this text

Progress on stderr, tables (Markdown) on stdout.
`;

interface Settings {
  readonly brokers: readonly Broker[];
  readonly scenarios: readonly Scenario[];
  readonly contenders: readonly string[] | undefined;
  readonly messages: number;
  readonly pairs: number;
  readonly provider: ProviderName | undefined;
  readonly profile: string | undefined;
  readonly json: string | undefined;
}

interface Report {
  readonly broker: Broker;
  readonly version: string;
  readonly provider: string;
  readonly clients: Readonly<Record<string, string>>;
  readonly node: string;
  readonly processor: string;
  readonly cores: number;
  readonly date: string;
  /** Of the last minute, before and after: others on the machine make figures worse. */
  readonly load: readonly [before: number, after: number];
  readonly measurements: readonly Measurement[];
}

const progress = (line: string): void => void process.stderr.write(`${line}\n`);

function readSettings(): Settings | undefined {
  const { values } = parseArgs({
    options: {
      broker: { type: "string" },
      scenario: { type: "string", multiple: true },
      contender: { type: "string", multiple: true },
      messages: { type: "string", default: "50000" },
      pairs: { type: "string", default: "5" },
      provider: { type: "string" },
      profile: { type: "string" },
      json: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  return {
    brokers: brokerNames.filter(
      (name) => values.broker === undefined || oneOf("broker", values.broker, brokerNames) === name,
    ),
    scenarios: values.scenario?.map((name) => oneOf("scenario", name, scenarios)) ?? scenarios,
    contenders: values.contender,
    messages: wholeNumber("messages", values.messages),
    pairs: wholeNumber("pairs", values.pairs),
    provider: values.provider === undefined ? undefined : oneOf("provider", values.provider, providerNames),
    profile: values.profile,
    json: values.json,
  };
}

function oneOf<Name extends string>(option: string, given: string, allowed: readonly Name[]): Name {
  const name = allowed.find((each) => each === given);
  if (name === undefined) throw new Error(`--${option} is "${given}"; give one of ${allowed.join(", ")}`);
  return name;
}

function wholeNumber(option: string, given: string): number {
  const number = Number(given);
  if (Number.isInteger(number) && number > 0) return number;
  throw new Error(`--${option} is "${given}"; give a whole number, 1 or more`);
}

async function benchmark(broker: Broker, settings: Settings, save: (report: Report) => void): Promise<Report> {
  const started = await startForConformance(broker, settings.provider, undefined, progress);
  const client = broker === "kafka" ? "kafkajs" : "amqplib";
  const before = loadavg()[0] ?? 0;
  const measurements: Measurement[] = [];
  const report = (): Report => ({
    broker,
    version: started.running.version,
    provider: started.running.provider,
    clients: { [client]: versionOf(client) },
    node: process.version,
    processor: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    date: new Date().toISOString().slice(0, 10),
    load: [before, loadavg()[0] ?? 0],
    measurements,
  });
  try {
    await measure({
      ...settings,
      broker,
      progress,
      found(measurement) {
        measurements.push(measurement);
        // A run takes minutes: what is there stays if it is stopped.
        save(report());
      },
      failed(what, error) {
        progress(`${what}: FAILED: ${error instanceof Error ? error.message : String(error)}`);
        process.exitCode = 1;
      },
    });
    return report();
  } finally {
    await started.stop();
  }
}

async function main(): Promise<void> {
  const settings = readSettings();
  if (!settings) return void process.stdout.write(help);
  const finished: Report[] = [];
  const save = (reports: readonly Report[]): void => {
    if (settings.json !== undefined) writeFileSync(settings.json, `${JSON.stringify(reports, null, 2)}\n`);
  };
  for (const broker of settings.brokers) {
    const report = await benchmark(broker, settings, (soFar) => save([...finished, soFar]));
    finished.push(report);
    const { version, provider, node, processor, cores, load, clients } = report;
    const client = Object.entries(clients)
      .map((entry) => entry.join(" "))
      .join(", ");
    const where = `${client}, Node ${node}, ${cores} × ${processor}, load ${load.map((each) => each.toFixed(1)).join(" → ")}`;
    process.stdout.write(`## ${broker} ${version} (${provider}), ${where}\n\n${tables(broker, report.measurements)}\n`);
  }
}

await main().catch((error: unknown) => {
  process.stderr.write(`bench:brokers: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
