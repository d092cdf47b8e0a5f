import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { CaseResult } from "./case.ts";
import { readReport, type Report } from "./report.ts";

/** The promises that users ask about, the cases that prove each, and what holds where a broker cannot keep it. */
const guarantees: readonly (readonly [promise: string, cases: readonly string[], otherwise?: string])[] = [
  ["A confirmed publish is stored", ["DL-11", "LC-06", "G-02"]],
  ["Sending to nobody is an error", ["RP-05"], "kept for groups to come"],
  ["Nothing lost without a fault, nothing twice", ["DL-04", "DL-05", "G-10"]],
  ["Nothing lost when consumers are killed", ["G-01"]],
  ["Nothing lost when the broker restarts", ["G-03"]],
  ["What waits survives a restart of the broker", ["G-03b"]],
  ["A publish without an answer is told as unknown", ["G-11"]],
  ["Nothing lost when the network fails", ["G-04a", "G-04b", "G-04c", "G-04d"]],
  ["Nothing lost while members come and go", ["G-05"]],
  ["Every group gets everything; members share", ["GR-01", "GR-02"]],
  ["Order per key, also under retries", ["OR-01", "OR-04", "G-20"]],
  ["A failing message ends as a dead letter with its reason", ["RD-01", "RD-02", "RD-03"]],
  ["Dead letters go back to their group only", ["RD-06"]],
  ["Poison bytes never stop a consumer", ["PL-07", "PL-10"]],
  ["Foreign programs read ours, and theirs survive retry and redrive", ["IO-01", "IO-02", "IO-03"]],
  ["Names never meet", ["G-17a", "G-17c"]],
  ["A message that kills its process is found, no other is accused", ["G-06", "G-06b"]],
  ["Delayed messages are not seen early", ["RD-05", "RD-07"]],
  ["Sends and acceptance in one transaction", ["TX-01", "TX-02", "TX-03"]],
  ["A group goes back to a time", ["SK-01", "SK-02", "SK-03", "SK-04"]],
  ["A broadcast tells what it missed", ["GR-03", "GR-10"]],
  ["Drain finishes what runs and gives the rest back", ["G-09", "LC-11", "LC-12"]],
  ["Bodies and headers arrive byte for byte", ["PL-01", "PL-03", "G-14", "G-15"]],
];

/** One column: all reports of one broker and version, whatever their profile. */
interface Column {
  readonly title: string;
  readonly reports: readonly Report[];
  readonly results: ReadonlyMap<string, CaseResult>;
}

function columns(reports: readonly Report[]): readonly Column[] {
  const byTitle = new Map<string, Report[]>();
  for (const report of reports) {
    const title = `${report.broker} ${report.version}`.trim();
    byTitle.set(title, [...(byTitle.get(title) ?? []), report]);
  }
  return [...byTitle]
    .sort(([one], [two]) => one.localeCompare(two))
    .map(([title, list]) => {
      const results = new Map<string, CaseResult>();
      for (const result of list.flatMap((report) => report.cases)) {
        const known = results.get(result.id);
        if (!known || rank(result) > rank(known)) results.set(result.id, result);
      }
      return { title, reports: list, results };
    });
}

/** A failure anywhere hides a pass elsewhere; a skip hides nothing. */
function rank(result: CaseResult): number {
  return { skip: 0, pass: 1, invalid: 2, fail: 3 }[result.status];
}

/** What each broker can do, out of the live connection's own answer. */
export function capabilityTable(reports: readonly Report[]): string {
  const all = columns(reports);
  const flat = all.map((column) => flatten(column.reports[0]?.capabilities ?? {}));
  const names = [...new Set(flat.flatMap((each) => [...each.keys()]))];
  return table(
    ["capability", ...all.map((column) => column.title)],
    [
      ...names.map((name) => [`\`${name}\``, ...flat.map((each) => each.get(name) ?? "")]),
      ["proven by", ...all.map((column) => proof(column))],
    ],
  );
}

/** What was proven where. A cell names what failed, or says why nothing was proven. */
export function guaranteeTable(reports: readonly Report[]): string {
  const all = columns(reports);
  return table(
    ["promise", "cases", ...all.map((column) => column.title)],
    [
      ...guarantees.map(([promise, ids, otherwise]) => [
        promise,
        ids.join(", "),
        ...all.map((column) => cell(column, ids, otherwise)),
      ]),
      ["environment", "", ...all.map((column) => environment(column))],
    ],
  );
}

function cell(column: Column, ids: readonly string[], otherwise: string = "refused at the call"): string {
  const results = ids.map((id) => column.results.get(id));
  const bad = results.filter((result) => result?.status === "fail" || result?.status === "invalid");
  if (bad.length > 0) return `**fails** (${bad.map((result) => result?.id).join(", ")})`;
  const passed = results.filter((result) => result?.status === "pass");
  if (passed.some((result) => result?.tested === "refusal")) return otherwise;
  if (passed.length === ids.length) return "yes";
  if (passed.length > 0) return `yes (${passed.map((result) => result?.id).join(", ")})`;
  const skipped = results.find((result) => result?.status === "skip" && result.skip !== "profile");
  return skipped ? `not shown: ${skipped.reason}` : "not run";
}

function proof(column: Column): string {
  const totals = [...column.results.values()].filter((result) => result.status !== "skip");
  const passed = totals.filter((result) => result.status === "pass").length;
  return `${passed} of ${totals.length} cases, ${environment(column)}`;
}

function environment(column: Column): string {
  const [first] = column.reports;
  if (!first) return "";
  const dates = column.reports.map((report) => report.startedAt.slice(0, 10)).sort();
  return `${first.environment}${first.provider && ` (${first.provider})`}, ${dates.at(-1)}`;
}

function flatten(value: object, prefix = ""): Map<string, string> {
  const flat = new Map<string, string>();
  for (const [name, member] of Object.entries(value) as [string, unknown][]) {
    if (typeof member === "object" && member !== null) {
      for (const [inner, text] of flatten(member, `${prefix}${name}.`)) flat.set(inner, text);
    } else flat.set(`${prefix}${name}`, member === true ? "yes" : member === false ? "no" : String(member));
  }
  return flat;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Reports of a folder, in the order of their names. Other JSON files are left alone. */
export function readReports(folder: string): readonly Report[] {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort();
  return names
    .map((name) => readReport(join(folder, name)))
    .filter((report) => Array.isArray(report.cases) && report.capabilities);
}
