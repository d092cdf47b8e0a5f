// One table over all brokers.
import { type Account, total } from "./account.ts";

/** A run, or why there is none. */
export type Row =
  | Account
  | { readonly broker: string; readonly unavailable: string }
  | { readonly broker: string; readonly failed: string };

const head = [
  "broker",
  "server",
  "a second",
  "p50",
  "p99",
  "retried",
  "dead-lettered",
  "lost",
  "duplicates",
  "account",
];

/** A row per broker: the same orders, the same service. */
export function overview(rows: readonly Row[]): string {
  const ran = rows.filter((row) => "groups" in row);
  const missing = rows.filter((row): row is Exclude<Row, Account> => !("groups" in row));
  const table = [head, ...ran.map(cells)];
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => "-".repeat(width)).join("  "));
  const reasons = missing.map((row) =>
    "unavailable" in row ? `${row.broker}: unavailable: ${row.unavailable}` : `${row.broker}: FAILED: ${row.failed}`,
  );
  const problems = ran.flatMap(({ broker, problems: found }) => found.map((problem) => `${broker}: ${problem}`));
  const legend =
    "a second: fates in three groups · p50, p99: from publishing to the first work · retried: in place and by own entry";
  return `\n${[...lines, ...reasons, ...problems, "", legend].join("\n")}\n`;
}

function cells({ broker, server, pace, groups, lost, duplicates, problems }: Account): string[] {
  const sum = (value: (group: Account["groups"][number]) => number) =>
    String(groups.reduce((all, group) => all + value(group), 0));
  return [
    broker,
    server,
    String(pace.perSecond),
    `${pace.p50} ms`,
    `${pace.p99} ms`,
    sum(({ retried }) => retried.inPlace + retried.ownEntry),
    sum(({ deadLettered }) => total(deadLettered)),
    String(lost),
    String(duplicates),
    problems.length === 0 ? "adds up" : "DOES NOT ADD UP",
  ];
}
