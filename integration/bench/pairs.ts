import { type Broker, contenders, type Finding, type Scenario, type Task } from "./contender.ts";
import { runChild } from "./run-child.ts";

export interface Measurement {
  readonly scenario: Scenario;
  readonly contender: string;
  readonly repetition: number;
  readonly finding: Finding;
}

export interface MeasureOptions {
  readonly broker: Broker;
  readonly scenarios: readonly Scenario[];
  readonly contenders: readonly string[] | undefined;
  readonly messages: number;
  readonly pairs: number;
  readonly profile: string | undefined;
  progress(line: string): void;
  found(measurement: Measurement): void;
  /** The others go on without it. */
  failed(what: string, error: unknown): void;
}

/** A round trip each, or a hundred a second: these take a part of the messages. */
const parts: Readonly<Record<Scenario, number>> = {
  publish: 1,
  "publish-each": 1 / 16,
  "consume-1": 1,
  "consume-100": 1,
  latency: 1 / 50,
};

/** All contenders of a scenario in every repetition, the first one last in the next: a drift of the machine hits all alike. */
export async function measure(options: MeasureOptions): Promise<void> {
  for (let repetition = 1; repetition <= options.pairs; repetition++) {
    for (const scenario of options.scenarios) {
      for (const contender of inTurn(options, scenario, repetition)) {
        const what = `${options.broker} ${repetition}/${options.pairs} ${scenario} ${contender}`;
        try {
          const finding = await one(options, scenario, contender, repetition);
          options.progress(`${what}: ${described(finding)}`);
          options.found({ scenario, contender, repetition, finding });
        } catch (error) {
          options.failed(what, error);
        }
      }
    }
  }
}

function described({ messagesPerSecond, cpuMicroseconds, peakMebibytes, p50, p99, duplicates }: Finding): string {
  return [
    `${Math.round(messagesPerSecond)}/s`,
    `${cpuMicroseconds.toFixed(1)} µs CPU a message`,
    `${peakMebibytes.toFixed(0)} MiB`,
    ...(p50 === undefined ? [] : [`p50 ${p50.toFixed(2)} ms`, `p99 ${p99?.toFixed(2)} ms`]),
    ...(duplicates === 0 ? [] : [`${duplicates} duplicates`]),
  ].join(", ");
}

function inTurn(
  { broker, contenders: wanted }: MeasureOptions,
  scenario: Scenario,
  repetition: number,
): readonly string[] {
  const names = contenders[broker]
    .filter((each) => each.scenarios.includes(scenario) && (wanted?.includes(each.name) ?? true))
    .map((each) => each.name);
  const first = (repetition - 1) % Math.max(1, names.length);
  const turned = [...names.slice(first), ...names.slice(0, first)];
  return repetition % 2 === 1 ? turned : turned.toReversed();
}

async function one(
  options: MeasureOptions,
  scenario: Scenario,
  contender: string,
  repetition: number,
): Promise<Finding> {
  const { broker, profile } = options;
  const messages = Math.max(10, Math.ceil(options.messages * parts[scenario]));
  const topic = `bench-${Date.now().toString(36)}-${scenario}-${repetition}`;
  const task: Task = { broker, contender, scenario, topic, messages };
  if (scenario.startsWith("consume")) await runChild({ ...task, scenario: "fill" }, undefined);
  return runChild(task, profile);
}
