import type { Finding } from "./run.ts";
import type { Report } from "./worker.ts";

/** Findings with the same cause, as far as their text tells. */
export function grouped(findings: readonly Finding[]): readonly (readonly [first: Finding, times: number])[] {
  const groups = new Map<string, [Finding, number]>();
  for (const finding of findings) {
    const place =
      /at packages\/\S+/.exec(finding.detail)?.[0] ??
      finding.detail.replaceAll(/"[^"]*"|\d+(?:\.\d+)?/g, "…").slice(0, 60);
    const key = `${finding.target} ${finding.kind} ${place}`;
    const group = groups.get(key);
    if (group) group[1]++;
    else groups.set(key, [finding, 1]);
  }
  return [...groups.values()];
}

/** Everything that makes the run fail, in words. */
export function problemsOf({ again, findings, account, seed }: Report): readonly string[] {
  const lines = grouped([...again, ...findings]).map(([{ target, kind, detail, index, sample }, times]) => {
    const where = index < 0 ? "corpus" : `npm run fuzz -- --seed ${seed} --only ${index}`;
    const input = `${JSON.stringify(sample.headers).slice(0, 200)} ${sample.bytes.slice(0, 200)}`;
    return `${target}: ${kind}, ${times} times: ${detail}\n    ${where}\n    ${input}`;
  });
  return [...lines, ...(account?.problems ?? []).slice(0, 20).map((problem) => `bus: ${problem}`)];
}

/** The whole report as text. */
export function textOf(report: Report): string {
  const { targets, inputs, seed, ms, account } = report;
  const rows = Object.entries(targets).map(([name, { inputs: all, accepted, refused, slowestMs }]) =>
    [name.padEnd(38), ...[all, accepted, refused, slowestMs.toFixed(1)].map((each) => String(each).padStart(10))].join(
      "",
    ),
  );
  const head = [
    "".padEnd(38),
    ...["inputs", "accepted", "refused", "ms at most"].map((each) => each.padStart(10)),
  ].join("");
  const bus = account
    ? [
        `bus: ${account.sent} messages: ${account.handled} handled, ${account.deadLettered} dead letters with their own bytes, ${account.dropped} expired`,
      ]
    : [];
  const problems = problemsOf(report);
  const verdict = problems.length === 0 ? "no findings" : `${problems.length} findings:\n${problems.join("\n")}`;
  return [head, ...rows, ...bus, `${inputs} inputs, seed ${seed}, ${(ms / 1000).toFixed(1)} s: ${verdict}`].join("\n");
}
