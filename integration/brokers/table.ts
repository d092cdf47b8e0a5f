import { addressValue } from "./kinds.ts";
import type { BrokerAddress, Offer, RunningBroker, UnavailableBroker } from "./types.ts";

/** What is running, printed at the start of every run. */
export function runTable(available: readonly RunningBroker[], unavailable: readonly UnavailableBroker[]): string {
  return table(
    ["broker", "provider", "version", "kind", "address", "ready"],
    [
      ...available.map((running) => [
        running.broker,
        running.provider,
        running.version,
        running.environment,
        addressText(running.address),
        `in ${running.readyAfter} ms`,
      ]),
      ...unavailable.map(({ request, why }) => [
        request.broker,
        request.provider ?? "any",
        request.version ?? "any",
        "-",
        "-",
        `unavailable: ${firstLine(why)}`,
      ]),
    ],
  );
}

/** What could be started here. */
export function offerTable(offers: readonly Offer[]): string {
  const rows = offers.map(({ broker, provider, version, why, note }) => [
    broker,
    provider,
    version,
    why === undefined ? ["yes", note].filter(Boolean).join(", ") : `unavailable: ${why}`,
  ]);
  return table(["broker", "provider", "version", "can be had"], rows);
}

/** For people: without the password. */
export function addressText(address: BrokerAddress): string {
  return addressValue(address).replace(/\/\/([^:@/]*):[^@/]*@/, "//$1:***@");
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [line(head), widths.map((width) => "-".repeat(Math.min(width, 60))).join("  "), ...rows.map(line)].join("\n");
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? text;
}
