import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type BrokerName, brokerNames } from "./broker.ts";

export const usage: string = `The order service on a broker of your choice, and an account of every message at the end.

Usage: npm run demo -- [options]

  --broker NAME    ${brokerNames.join(", ")}, or all (default: memory).
                   Taken from KAFKA_BROKERS, RABBITMQ_URL, REDIS_URL, AWS_ENDPOINT_URL and PUBSUB_EMULATOR_HOST, or
                   brought up for this run; all runs one after the other and compares them in a table.
  --messages N     orders to read; the input is read again when it ends
                   (default: 2000 of the sample; all of --input)
  --input FILE     orders as NDJSON; - is standard input (default: the sample, orders.ndjson)
  --rate N         orders published a second, 0 = as fast as the broker confirms (default: 500)
  --listen PORT    take orders by HTTP (POST /orders; GET /livez and /readyz) until Ctrl-C, instead of reading them
  --json           print the account as JSON, and nothing else, on standard output
  --help           this text

Ctrl-C stops reading, waits for what was published, and prints the account. A second one ends at once.
Exit code: 0 when the account adds up and nothing is lost, 1 when not, 2 for wrong options, 69 when the broker cannot be
had on this machine.
`;

export interface DemoOptions {
  readonly broker: BrokerName | "all";
  readonly input: string;
  readonly messages: number | undefined;
  readonly rate: number;
  /** Takes orders by HTTP on this port; 0 is a free one. */
  readonly listen: number | undefined;
  readonly json: boolean;
  readonly help: boolean;
}

export class UsageError extends Error {}

const sample = fileURLToPath(new URL("orders.ndjson", import.meta.url));

/** @throws UsageError naming the option that is wrong */
export function readOptions(args: readonly string[]): DemoOptions {
  const { broker = "memory", input, messages, rate, listen, json = false, help = false } = parse(args);
  const name = ([...brokerNames, "all"] as const).find((each) => each === broker);
  if (name === undefined) throw new UsageError(`--broker is "${broker}"; give one of ${brokerNames.join(", ")}, all`);
  if (name === "all" && (input === "-" || listen !== undefined)) {
    throw new UsageError("--broker all reads the orders once for each broker; give --input FILE, and no --listen");
  }
  const given = messages === undefined ? undefined : whole("--messages", messages, 1);
  return {
    broker: name,
    input: input ?? sample,
    messages: given ?? (input === undefined ? 2000 : undefined),
    rate: rate === undefined ? 500 : whole("--rate", rate, 0),
    listen: listen === undefined ? undefined : whole("--listen", listen, 0),
    json,
    help,
  };
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  try {
    const options = { broker: text, input: text, messages: text, rate: text, listen: text, json: flag, help: flag };
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
