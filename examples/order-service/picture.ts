// The flow as a drawing, with the numbers of the account.
import { type Account, type GroupAccount, total } from "./account.ts";
import { OrderPlaced, OrderShipped } from "./service.ts";

const width = 78;

export function picture(account: Account): string {
  const { orders, broadcast } = account;
  const [billing = [], shipping = [], mailer = []] = account.groups.map(groupBox);
  const shipped = account.groups.find(({ topic }) => topic === OrderShipped.name)?.published ?? 0;
  return [
    ...box("producer", [`${orders.read} orders read`, ...reasons("refused", orders.refused)]),
    "   │",
    `   ▼ ${orders.published} confirmed by the broker`,
    ...box(`topic ${OrderPlaced.name}  (in order per customer)`, []),
    "   │",
    ...branch(billing),
    "   │",
    ...branch(shipping),
    "   │      │",
    `   │      ▼ ${shipped} published by its handler`,
    ...box(`topic ${OrderShipped.name}  (no order)`, [], "   │  "),
    "   │      │",
    ...branch(mailer, "   │      "),
    "   │",
    `   └╌╌▶ broadcast ${broadcast.name}: ${broadcast.seen} orders seen`,
  ].join("\n");
}

function groupBox(account: GroupAccount): string[] {
  const { group, handled, retried, deferred, dropped, redriven, deadLettered, deadLetters, duplicates, lost } = account;
  const lines = [`✔ ${handled} handled`];
  const waited = retried.inPlace + retried.ownEntry;
  if (waited > 0) lines.push(`↻ ${waited} retried: ${retried.inPlace} in place, ${retried.ownEntry} through the group's own entry`);
  if (deferred > 0) lines.push(`◷ ${deferred} deferred`);
  lines.push(...reasons("⌀ dropped", dropped));
  lines.push(...reasons("✖ dead-lettered", deadLettered));
  if (redriven > 0) lines.push(`⤴ ${redriven} redriven after the bug fix`);
  if (total(deadLettered) > 0) lines.push(`▣ ${total(deadLetters)} dead letters left${list(deadLetters)}`);
  lines.push(`= ${lost} lost, ${duplicates} duplicates`);
  return box(`group ${group}`, lines);
}

function reasons(what: string, counts: Readonly<Record<string, number>>): string[] {
  const entries = Object.entries(counts);
  const [only] = entries;
  if (!only) return [];
  if (entries.length === 1) return [`${only[1]} ${what}: ${only[0]}`];
  return [`${total(counts)} ${what}`, ...entries.map(([reason, count]) => `   ${count} × ${reason}`)];
}

function list(counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts);
  return entries.length === 0 ? "" : `: ${entries.map(([reason, count]) => `${count} ${reason}`).join(", ")}`;
}

function box(title: string, lines: readonly string[], indent = ""): string[] {
  const inner = width - indent.length - 4;
  const row = (text: string) => `${indent}│ ${text.length > inner ? `${text.slice(0, inner - 1)}…` : text.padEnd(inner)} │`;
  const bottom = `${indent}└──${"┬".padEnd(1)}${"─".repeat(inner - 1)}┘`;
  return [`${indent}┌─ ${title} ${"─".repeat(Math.max(0, inner - title.length - 1))}┐`, ...lines.map(row), bottom];
}

function branch(lines: readonly string[], trunk = "   "): string[] {
  return lines.map((line, index) => `${trunk}${index === 1 ? "├──▶ " : "│    "}${line}`);
}
