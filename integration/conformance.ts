/** Runs the conformance kit against one broker: `npm run conformance -- --help`. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import {
  type BrokerControl,
  type CaseResult,
  isGreen,
  type Profile,
  resultLine,
  runConformance,
  summaryLine,
  writeReport,
} from "@sluice/conformance";

import type { ProviderName } from "./brokers/index.ts";
import type { HarnessName } from "./harnesses/start.ts";

const help = `Usage: npm run conformance -- --broker NAME [options]

  --broker NAME      memory, kafka, rabbitmq, redis, redis-cluster (three native nodes), redis-pubsub,
                     sqs-sns or google-pubsub
  --profile NAME     smoke, standard or fault                        (default: standard)
  --provider NAME    native, containers or external                  (default: the first that works)
  --version V        broker version, or its beginning                (default: the provider's)
  --json FILE        write the report
  --case ID          only this case; may be repeated
  --repeat N         run everything N times                          (default: 1)
  --seed N           repeat the random choices of an earlier run
  --ledgers FOLDER   keep the ledgers of every case
  --help             this text

Exit codes: 0 every case passed or was skipped for a stated reason, 1 a case failed or was invalid, 2 wrong usage.
`;

const brokers = ["memory", "kafka", "rabbitmq", "redis", "redis-cluster", "redis-pubsub", "sqs-sns", "google-pubsub"];
const profiles = ["smoke", "standard", "fault"];
const providers = ["native", "containers", "external"];

const print = (text: string): void => void process.stdout.write(`${text}\n`);

function usage(problem: string): never {
  process.stderr.write(`conformance: ${problem}\n\n${help}`);
  process.exit(2);
}

function oneOf(name: string, value: string, allowed: readonly string[]): string {
  if (!allowed.includes(value)) usage(`--${name} is "${value}"; give one of ${allowed.join(", ")}`);
  return value;
}

function wholeNumber(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1) usage(`--${name} is "${value}"; give a whole number, 1 or more`);
  return number;
}

function readArguments() {
  try {
    return parseArgs({
      options: {
        broker: { type: "string" },
        profile: { type: "string", default: "standard" },
        provider: { type: "string" },
        version: { type: "string" },
        json: { type: "string" },
        case: { type: "string", multiple: true },
        repeat: { type: "string" },
        seed: { type: "string" },
        ledgers: { type: "string" },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
}

interface Prepared {
  readonly control: BrokerControl | undefined;
  stop(): Promise<void>;
}

/** Brings the broker up, and tells the harness through the environment where it is. */
async function prepare(broker: string, provider: string | undefined, version: string | undefined): Promise<Prepared> {
  if (broker === "memory") return { control: undefined, stop: async () => {} };
  if (broker === "redis-cluster") {
    const { announceCluster } = await import("./harnesses/redis-cluster-nodes.ts");
    return announceCluster();
  }
  const { startForConformance } = await import("./harnesses/start.ts");
  return startForConformance(broker as HarnessName, provider as ProviderName | undefined, version, print);
}

function progress(result: CaseResult, done: number, all: number): void {
  const line = resultLine(result, done, all);
  if (line !== undefined) print(line);
}

async function main(): Promise<number> {
  const values = readArguments();
  if (values.help) {
    print(help);
    return 0;
  }
  const broker = oneOf("broker", values.broker ?? usage("--broker is missing"), brokers);
  const profile = oneOf("profile", values.profile, profiles) as Profile;
  if (values.provider !== undefined) oneOf("provider", values.provider, providers);
  const repeat = wholeNumber("repeat", values.repeat);
  const seed = wholeNumber("seed", values.seed);
  const prepared = await prepare(broker, values.provider, values.version);
  try {
    const report = await runConformance(new URL(`./harnesses/${broker}.ts`, import.meta.url), {
      profile,
      ...(values.case && { cases: values.case }),
      ...(repeat !== undefined && { repeat }),
      ...(seed !== undefined && { seed }),
      ...(values.ledgers !== undefined && { directory: values.ledgers }),
      ...(prepared.control && { control: prepared.control }),
      onResult: progress,
    });
    if (values.json !== undefined) {
      mkdirSync(dirname(values.json), { recursive: true });
      writeReport(values.json, report);
    }
    print(summaryLine(report));
    return isGreen(report) ? 0 : 1;
  } finally {
    await prepared.stop();
  }
}

// A case that failed may have left something behind that would keep this process alive.
process.exit(
  await main().catch((error: unknown) => {
    process.stderr.write(`conformance: ${error instanceof Error ? error.stack : String(error)}\n`);
    return 1;
  }),
);
