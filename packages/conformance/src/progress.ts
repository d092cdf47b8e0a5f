/** A run as lines of text: what the command prints. */
import type { CaseResult } from "./case.ts";
import type { Report } from "./report.ts";

const marks = { pass: "ok  ", fail: "FAIL", skip: "skip", invalid: "INV " } as const;

/** One result; `undefined` for a case of another profile. */
export function resultLine(result: CaseResult, done: number, all: number): string | undefined {
  if (result.skip === "profile") return undefined;
  const tested = result.tested === "refusal" ? " (refusal)" : "";
  const { duplicates, budget, lost } = result.metrics;
  const numbers = duplicates === undefined ? "" : ` lost ${lost} duplicates ${duplicates}/${budget}`;
  const time = result.status === "skip" ? "" : ` ${(result.durationMs / 1000).toFixed(1)} s`;
  const line = `${String(done).padStart(3)}/${all} ${marks[result.status]} ${result.id.padEnd(6)} ${result.title}${tested}${time}${numbers}`;
  if (result.status === "skip") return `${line}\n${indented(`${result.skip}: ${result.reason}`)}`;
  return result.reason ? `${line}\n${indented(result.reason)}` : line;
}

export function summaryLine(report: Report): string {
  const { pass, fail, skip, invalid } = report.totals;
  const where = `${report.broker} ${report.version} (${report.environment}, ${report.provider || "unstated"})`;
  const seconds = Math.round(report.durationMs / 1000);
  return `${where}, profile ${report.profile}: ${pass} passed, ${fail} failed, ${skip} skipped, ${invalid} invalid in ${seconds} s; seed ${report.seed}`;
}

function indented(text: string): string {
  return text.replace(/^/gm, "             ");
}
