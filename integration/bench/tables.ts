import { type Broker, contenders, type Finding, type Scenario, scenarios } from "./contender.ts";
import type { Measurement } from "./pairs.ts";
import { median, type Ratio, ratio } from "./statistics.ts";

const titles: Readonly<Record<Scenario, string>> = {
  publish: "Publish, at most 1,000 unconfirmed",
  "publish-each": "Publish, each awaited",
  "consume-1": "Consume a backlog, concurrency 1",
  "consume-100": "Consume a backlog, concurrency 100",
  latency: "From publish to handler at 100 messages a second",
};

/** One Markdown table per scenario. Ratios are medians over the repetitions, with the least and the most. */
export function tables(broker: Broker, measurements: readonly Measurement[]): string {
  return scenarios
    .filter((scenario) => measurements.some((each) => each.scenario === scenario))
    .map((scenario) => `### ${titles[scenario]}\n\n${table(broker, scenario, measurements)}\n`)
    .join("\n");
}

function table(broker: Broker, scenario: Scenario, measurements: readonly Measurement[]): string {
  const here = measurements.filter((each) => each.scenario === scenario);
  const names = contenders[broker]
    .map(({ name }) => name)
    .filter((name) => here.some((each) => each.contender === name));
  const rivals = names.filter((name) => !name.startsWith("sluice"));
  const waits = scenario === "latency";
  const head = [
    "contender",
    ...(waits ? ["p50 ms", "p99 ms"] : ["messages/s"]),
    ...rivals.map((name) => `${waits ? "p50" : "rate"} to ${name}`),
    "CPU µs/message",
    "peak MiB",
  ];
  const rows = names.map((name) => {
    const mine = findings(here, name);
    const middle = (read: (finding: Finding) => number): number => median([...mine.values()].map(read));
    return [
      name,
      ...(waits
        ? [middle(({ p50 = Number.NaN }) => p50).toFixed(2), middle(({ p99 = Number.NaN }) => p99).toFixed(2)]
        : [rounded(middle((finding) => finding.messagesPerSecond))]),
      ...rivals.map((rival) => (rival === name ? "1" : compared(mine, findings(here, rival), waits))),
      middle((finding) => finding.cpuMicroseconds).toFixed(1),
      middle((finding) => finding.peakMebibytes).toFixed(0),
    ];
  });
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** By repetition: only what ran side by side is compared. */
function findings(measurements: readonly Measurement[], contender: string): ReadonlyMap<number, Finding> {
  const mine = measurements.filter((each) => each.contender === contender);
  return new Map(mine.map(({ repetition, finding }) => [repetition, finding]));
}

function compared(mine: ReadonlyMap<number, Finding>, theirs: ReadonlyMap<number, Finding>, waits: boolean): string {
  const value = (finding: Finding): number => (waits ? (finding.p50 ?? Number.NaN) : finding.messagesPerSecond);
  const pairs = [...mine].flatMap(([repetition, finding]) => {
    const other = theirs.get(repetition);
    return other ? [[value(finding), value(other)] as const] : [];
  });
  const found = ratio(pairs);
  return found ? shown(found) : "";
}

function shown({ median: middle, least, most }: Ratio): string {
  return `${middle.toFixed(2)} (${least.toFixed(2)}–${most.toFixed(2)})`;
}

function rounded(rate: number): string {
  return Number(rate.toPrecision(3)).toLocaleString("en-US");
}
