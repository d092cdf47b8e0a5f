import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type BrokerName, brokerNames } from "./broker.ts";

export const usage: string = `The order service on a broker of your choice, and an account of every message at the end.

Usage: npm run demo -- [options]

  --broker NAME    ${brokerNames.join(", ")} (default: memory). Kafka and RabbitMQ are taken from
                   KAFKA_BROKERS and RABBITMQ_URL, or brought up for this run.
  --messages N     orders to read; the input is read again when it ends
                   (default: 2000 of the sample; all of --input)
  --input FILE     orders as NDJSON; - is standard input (default: the sample, orders.ndjson)
  --rate N         orders published a second, 0 = as fast as the broker confirms (default: 500)
  --json           print the account as JSON, and nothing else, on standard output
  --help           this text

Ctrl-C stops reading, waits for what was published, and prints the account. A second one ends at once.
Exit code: 0 when the account adds up and nothing is lost, 1 when not, 2 for wrong options.
`;

export interface DemoOptions {
  readonly broker: BrokerName;
  readonly input: string;
  readonly messages: number | undefined;
  readonly rate: number;
  readonly json: boolean;
  readonly help: boolean;
}

export class UsageError extends Error {}

const sample = fileURLToPath(new URL("orders.ndjson", import.meta.url));

/** @throws UsageError naming the option that is wrong */
export function readOptions(args: readonly string[]): DemoOptions {
  const { broker = "memory", input, messages, rate, json = false, help = false } = parse(args);
  const name = brokerNames.find((each) => each === broker);
  if (name === undefined) throw new UsageError(`--broker is "${broker}"; give one of ${brokerNames.join(", ")}`);
  const given = messages === undefined ? undefined : whole("--messages", messages, 1);
  return {
    broker: name,
    input: input ?? sample,
    messages: given ?? (input === undefined ? 2000 : undefined),
    rate: rate === undefined ? 500 : whole("--rate", rate, 0),
    json,
    help,
  };
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  try {
    const options = { broker: text, input: text, messages: text, rate: text, json: flag, help: flag };
    return parseArgs({ args: [...args], options }).values;
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function whole(option: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least) return value;
  throw new UsageError(`${option} is "${text}"; give a whole number, ${least} or more`);
}
