// What happens now, on standard error: a drawing in a terminal, a line now and then elsewhere.
import type { WriteStream } from "node:tty";
import type { GroupPage, Ledger } from "./ledger.ts";
import { OrderPlaced } from "./service.ts";

export interface Progress {
  /** Says one thing, above the drawing. */
  note(line: string): void;
  stop(): void;
}

/** `expected`: orders that will be read; `undefined` = not known. */
export function showProgress(ledger: Ledger, expected: number | undefined, output: WriteStream): Progress {
  return output.isTTY ? drawProgress(ledger, expected, output) : writeProgress(ledger, output);
}

function drawProgress(ledger: Ledger, expected: number | undefined, output: WriteStream): Progress {
  let drawn = 0;
  const erase = () => {
    if (drawn > 0) output.write(`\u001b[${drawn}A\u001b[J`);
    drawn = 0;
  };
  const draw = () => {
    const goal = Math.max(expected ?? ledger.read, 1);
    const rows = [bar("published", published(ledger), goal, `${ledger.refusedCount} refused`)];
    for (const page of ledger.pages) rows.push(bar(page.group, page.settled.size, goal, details(page)));
    rows.push(`${"dashboard".padEnd(10)} ${ledger.seen} orders, ${ledger.revenue.toFixed(2)} in all`);
    erase();
    output.write(`${rows.join("\n")}\n`);
    drawn = rows.length;
  };
  const timer = setInterval(draw, 100);
  return {
    note(line) {
      erase();
      output.write(`${line}\n`);
      draw();
    },
    stop() {
      clearInterval(timer);
      erase();
    },
  };
}

function writeProgress(ledger: Ledger, output: WriteStream): Progress {
  const write = () => {
    const groups = ledger.pages.map((page) => `${page.group} ${page.settled.size} (${details(page)})`);
    output.write(`published ${published(ledger)}, refused ${ledger.refusedCount}; ${groups.join("; ")}\n`);
  };
  const timer = setInterval(write, 2000);
  return { note: (line) => void output.write(`${line}\n`), stop: () => clearInterval(timer) };
}

function published(ledger: Ledger): number {
  return ledger.confirmed.get(OrderPlaced.name)?.size ?? 0;
}

function details(page: GroupPage): string {
  let dead = -page.redriven.size;
  for (const count of page.deadLettered.values()) dead += count;
  return `${page.failures} failed attempts, ${dead} dead letters`;
}

function bar(name: string, value: number, goal: number, text: string): string {
  const full = Math.min(30, Math.round((value / goal) * 30));
  return `${name.padEnd(10)} ${"█".repeat(full)}${"░".repeat(30 - full)} ${String(value).padStart(7)}  ${text}`;
}
