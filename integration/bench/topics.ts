/** What a thousand topics cost: `npm run bench:topics -- --help`. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { brokerNames, brokers, brokerUrl, type BrokerName, providerNames } from "../brokers/index.ts";
import type { TopicsMeasurement, TopicsTask } from "./topics-child.ts";

const help = `npm run bench:topics -- --broker NAME [options]

One bus, one subscription to many topics in a process of its own, a few messages through each; then the sockets, the memory
and, after that, the processor time of doing nothing.

  --broker NAME    memory, ${brokerNames.join(", ")} (kafka with sharedGroups)
  --topics N       (default: 1000)
  --messages N     through each topic                             (default: 100)
  --idle S         seconds of watching the idle process           (default: 10)
  --provider NAME  ${providerNames.join(", ")}               (default: the first that works)
  --version V      broker version, or its beginning
  --json FILE      the figures
  --help           this text

Exit code 1 when a message is lost or a bar is missed: ≤ 40 sockets, ≤ 20 KiB a topic, ≤ 2 % of a core when idle.
`;

interface Report extends TopicsMeasurement {
  readonly broker: string;
  readonly version: string;
  readonly provider: string;
  readonly node: string;
  readonly processor: string;
  readonly cores: number;
  readonly date: string;
  /** Of the last minute, before and after: others on the machine make figures worse. */
  readonly load: readonly [before: number, after: number];
}

interface Bar {
  readonly what: string;
  readonly value: number;
  readonly most: number;
  readonly unit: string;
}

function bars({ broker, sockets, memory, idle, lost }: Report): readonly Bar[] {
  // Of the heap: room that the process once took for messages is no topic's.
  const after = {
    what: "memory",
    value: memory.handled.heapKiB,
    most: 20,
    unit: "KiB of heap a topic, after the messages",
  };
  return [
    { what: "lost", value: lost, most: 0, unit: "messages" },
    { what: "sockets", value: sockets, most: 40, unit: "established" },
    { what: "memory", value: memory.subscribed.rssKiB, most: 20, unit: "KiB of RSS a topic, subscribed" },
    // The embedded broker keeps the messages themselves in this process: its history.
    ...(broker === "memory" ? [] : [after]),
    { what: "idle", value: idle.coreShare * 100, most: 2, unit: "% of a core" },
  ];
}

function show(report: Report): string {
  const { broker, version, provider, topics, messages, seconds, received, duplicates, memory } = report;
  const rows = bars(report).map(
    ({ what, value, most, unit }) =>
      `  ${value <= most ? "ok    " : "MISSED"} ${what.padEnd(8)} ${String(Math.round(value * 100) / 100).padStart(8)} ${unit} (bar: ${most})`,
  );
  return [
    `${broker} ${version} (${provider}): one subscription to ${topics} topics, ${messages} messages through each`,
    ...rows,
    `  ${received} received, ${duplicates} duplicates; heap ${memory.subscribed.heapKiB}, then ${memory.handled.heapKiB} KiB a topic`,
    `  subscribed in ${seconds.subscribe} s, published and handled in ${seconds.traffic} s`,
  ].join("\n");
}

async function measure(task: TopicsTask, environment: Readonly<Record<string, string>>): Promise<TopicsMeasurement> {
  const program = fileURLToPath(new URL("topics-child.ts", import.meta.url));
  const child = spawn(process.execPath, ["--conditions=@sluice/source", "--expose-gc", program, JSON.stringify(task)], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...environment },
  });
  const exit = once(child, "exit") as Promise<[number | null]>;
  const output = await text(child.stdout);
  const [code] = await exit;
  if (code !== 0) throw new Error(`the measuring process ended with code ${code}`);
  return JSON.parse(output) as TopicsMeasurement;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      broker: { type: "string" },
      topics: { type: "string", default: "1000" },
      messages: { type: "string", default: "100" },
      idle: { type: "string", default: "10" },
      provider: { type: "string" },
      version: { type: "string" },
      json: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const name = oneOf("broker", values.broker ?? "", ["memory", ...brokerNames] as const);
  const provider = values.provider === undefined ? undefined : oneOf("provider", values.provider, providerNames);
  const task = {
    topics: whole("topics", values.topics),
    messages: whole("messages", values.messages),
    idleMs: whole("idle", values.idle) * 1000,
  };
  const request = { ...(provider && { provider }), ...(values.version && { version: values.version }) };
  const started = name === "memory" ? undefined : await brokers([{ broker: name as BrokerName, ...request }]);
  try {
    const running = started?.available[0];
    if (started && !running) throw new Error(`${name} cannot be had: ${started.unavailable[0]?.why}`);
    const [before = 0] = loadavg();
    // A Kafka group per topic, the default, is a connection per topic.
    const options = name === "kafka" ? "?sharedGroups=true" : "";
    const url = running && brokerUrl(running) + options;
    const environment = url === undefined ? {} : { ...running?.environmentVariables, BROKER_URL: url };
    const measurement = await measure(task, environment);
    const [after = 0] = loadavg();
    const report: Report = {
      broker: name,
      version: running?.version ?? "",
      provider: running?.provider ?? "embedded",
      node: process.version,
      processor: cpus()[0]?.model ?? "",
      cores: cpus().length,
      date: new Date().toISOString().slice(0, 10),
      load: [Math.round(before * 10) / 10, Math.round(after * 10) / 10],
      ...measurement,
    };
    if (values.json) writeFileSync(values.json, `${JSON.stringify(report, undefined, 2)}\n`);
    process.stdout.write(`${show(report)}\n`);
    return bars(report).every(({ value, most }) => value <= most) ? 0 : 1;
  } finally {
    await started?.stopAll();
  }
}

function oneOf<T extends string>(option: string, value: string, names: readonly T[]): T {
  const found = names.find((each) => each === value);
  if (found === undefined) throw new Error(`--${option} is "${value}"; give one of ${names.join(", ")}`);
  return found;
}

function whole(option: string, value: string): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1)
    throw new Error(`--${option} is "${value}"; give a whole number, 1 or more`);
  return number;
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`bench:topics: ${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});
