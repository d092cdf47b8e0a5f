// The flow as a drawing of 80 columns, with the numbers of the account.
import { type Account, type GroupAccount, total } from "./account.ts";

type Counts = Readonly<Record<string, number>>;

/** What is printed at the end. */
export function report(account: Account): string {
  const { broker, server, seconds, stoppedBy, lost, duplicates, problems } = account;
  const stopped = stoppedBy === null ? "" : `, stopped by ${stoppedBy}`;
  const verdict =
    problems.length === 0 ? "The account adds up" : `The account does NOT add up (${problems.join("; ")})`;
  return `
The order service on ${broker} (${server}), ${seconds} s${stopped}

${picture(account)}

${verdict}: lost ${lost}, duplicates ${duplicates}.
`;
}

function picture(account: Account): string {
  const { orders, broadcast } = account;
  const [billing, shipping, mailer] = account.groups;
  if (!billing || !shipping || !mailer) throw new TypeError("the account has three groups");
  return [
    ...box("producer", 72, [numbered(orders.read, "orders read"), ...refusals(orders.refused)]),
    "  │",
    `  ▼ ${orders.published} confirmed by the broker`,
    ...box("topic", 72, [`${billing.topic}, in order per customer`]),
    "  │",
    ...groupDrawing(billing, "  "),
    "  │",
    ...groupDrawing(shipping, "  "),
    "  │   │",
    `  │   ▼ ${mailer.published} published by the handler`,
    ...box("topic", 66, [`${mailer.topic}, in no order`]).map((line) => `  │   ${line}`),
    "  │     │",
    ...groupDrawing(mailer, "  │     "),
    "  │",
    `  └╌▶ broadcast ${broadcast.name}: ${broadcast.seen} orders seen`,
    ...account.groups.flatMap(({ group, dropped }) =>
      Object.entries(dropped).map(([reason, count]) => `\n${group} dropped ${count}: ${reason}`),
    ),
  ].join("\n");
}

/** The group on the left; its own entry and its dead letters on the right. */
function groupDrawing(account: GroupAccount, trunk: string): string[] {
  const { group, retried, deferred, dropped, deadLettered, redriven, duplicates, outOfOrder } = account;
  const given = total(deadLettered);
  const ownEntry = box("own entry", 26, [numbered(retried.ownEntry, "waited here")]);
  const dead = box("dead letters", 26, [
    ...Object.entries(deadLettered).map(([reason, count]) => numbered(count, reason)),
    numbered(redriven, "redriven once fixed"),
    numbered(total(account.deadLetters), "left"),
  ]);
  const right = [...ownEntry, ...dead];
  const left = box(
    `group ${group}`,
    23,
    fill(right.length - 2, [
      numbered(account.handled, "handled"),
      numbered(retried.inPlace, "retried in place"),
      numbered(deferred, "deferred"),
      numbered(total(dropped), "dropped"),
      numbered(outOfOrder, "out of order"),
      numbered(duplicates, "duplicates"),
      numbered(account.lost, "lost"),
    ]),
  );
  const arrows = new Map([
    [1, "◀── ↻ ──▶"],
    [4, arrow(given, "─▶", "──")],
    [right.length - 3, arrow(redriven, "──", "◀─")],
  ]);
  return left.map((line, row) => {
    const joint = row === 1 ? "├─▶ " : "│   ";
    return `${trunk}${joint}${line}${(arrows.get(row) ?? "").padEnd(9)}${right[row] ?? ""}`.trimEnd();
  });
}

function arrow(count: number, end: string, start: string): string {
  const text = ` ${count} `;
  return count === 0 ? "" : `${start}${text}${end.padStart(9 - start.length - text.length, "─")}`;
}

function refusals(refused: Counts): string[] {
  return Object.entries(refused).map(([reason, count]) => numbered(count, `refused: ${reason}`));
}

function numbered(count: number, text: string): string {
  return `${String(count).padStart(6)} ${text}`;
}

function fill(height: number, lines: readonly string[]): string[] {
  return [...lines, ...Array<string>(Math.max(0, height - lines.length)).fill("")];
}

function box(title: string, inner: number, lines: readonly string[]): string[] {
  const row = (text: string) => `│ ${text.length > inner ? `${text.slice(0, inner - 1)}…` : text.padEnd(inner)} │`;
  return [`┌─ ${title} ${"─".repeat(inner - title.length - 1)}┐`, ...lines.map(row), `└${"─".repeat(inner + 2)}┘`];
}
