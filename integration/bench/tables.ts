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

interface Figure {
  readonly title: string;
  /** In the head of a ratio. */
  readonly short: string;
  readonly read: (finding: Finding) => number;
  readonly show: (value: number) => string;
}

const milliseconds = (value: number): string => value.toFixed(1);
const rates: readonly Figure[] = [
  {
    title: "messages/s",
    short: "rate",
    read: (finding) => finding.messagesPerSecond,
    show: (rate) => Number(rate.toPrecision(3)).toLocaleString("en-US"),
  },
];
const waits: readonly Figure[] = [
  { title: "p50 ms", short: "p50", read: ({ p50 = Number.NaN }) => p50, show: milliseconds },
  { title: "p99 ms", short: "p99", read: ({ p99 = Number.NaN }) => p99, show: milliseconds },
];
/** Others on the machine disturb it less than they disturb the clock. */
const processor: Figure = {
  title: "CPU µs",
  short: "CPU",
  read: (finding) => finding.cpuMicroseconds,
  show: (value) => value.toFixed(0),
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
  const speeds = scenario === "latency" ? waits : rates;
  const paced = [...speeds.slice(0, 1), processor];
  const head = [
    "contender",
    ...speeds.map(({ title }) => title),
    "CPU µs",
    "peak MiB",
    ...paced.flatMap(({ short }) => rivals.map((rival) => `${short} to ${rival}`)),
  ];
  const rows = names.map((name) => {
    const mine = findings(here, name);
    const middle = (read: (finding: Finding) => number): number => median([...mine.values()].map(read));
    return [
      name,
      ...speeds.map(({ read, show }) => show(middle(read))),
      middle(processor.read).toFixed(0),
      middle((finding) => finding.peakMebibytes).toFixed(0),
      ...paced.flatMap(({ read }) =>
        rivals.map((rival) => (rival === name ? "1" : paired(mine, findings(here, rival), read))),
      ),
    ];
  });
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** By repetition: only what ran side by side is compared. */
function findings(measurements: readonly Measurement[], contender: string): ReadonlyMap<number, Finding> {
  const mine = measurements.filter((each) => each.contender === contender);
  return new Map(mine.map(({ repetition, finding }) => [repetition, finding]));
}

function paired(
  mine: ReadonlyMap<number, Finding>,
  theirs: ReadonlyMap<number, Finding>,
  read: (finding: Finding) => number,
): string {
  const pairs = [...mine].flatMap(([repetition, finding]) => {
    const other = theirs.get(repetition);
    return other ? [[read(finding), read(other)] as const] : [];
  });
  const found = ratio(pairs);
  return found ? shown(found) : "";
}

function shown({ median: middle, least, most }: Ratio): string {
  return `${middle.toFixed(2)} (${least.toFixed(2)}–${most.toFixed(2)})`;
}
