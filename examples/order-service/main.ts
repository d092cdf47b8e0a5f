import { randomUUID } from "node:crypto";
import { type Bus, connect, type Subscription } from "@sluice/core";
import { type Account, deadLettersOf, takeAccount } from "./account.ts";
import { chooseBroker } from "./broker.ts";
import { Ledger } from "./ledger.ts";
import { type DemoOptions, readOptions, usage, UsageError } from "./options.ts";
import { readOrders } from "./orders.ts";
import { picture } from "./picture.ts";
import { type Progress, showProgress } from "./progress.ts";
import { startService } from "./service.ts";
import { publishOrders } from "./shop.ts";
import { createWorld, type World } from "./world.ts";

/** How long a message may go without any other moving before the run gives up. */
const patienceMs = 30_000;
const workMs = 15;

/** The first signal ends the reading, the second one everything. */
function listenForSignals(): AbortController {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(130);
      stop.abort(signal);
    });
  }
  return stop;
}

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options.help) {
    process.stdout.write(usage);
    return 0;
  }
  const { signal } = listenForSignals();
  const ledger = new Ledger(randomUUID().slice(0, 8));
  const log = (line: string) => void process.stderr.write(`${line}\n`);
  const broker = await chooseBroker(options.broker, log);
  try {
    const bus = await connect(broker.driver, { clientName: "order-service" });
    const account = await runService(bus, ledger, options, signal).finally(() => bus.drain());
    process.stdout.write(options.json ? `${JSON.stringify(account, undefined, 2)}\n` : `${report(account)}\n`);
    return account.problems.length === 0 ? 0 : 1;
  } finally {
    await broker.stop();
  }
}

async function runService(bus: Bus, ledger: Ledger, options: DemoOptions, signal: AbortSignal): Promise<Account> {
  const began = performance.now();
  const stopListening = ledger.listen();
  const progress = showProgress(ledger, options.messages, process.stderr);
  signal.addEventListener("abort", () => progress.note(`${String(signal.reason)}: waiting for what was published`));
  try {
    progress.note(`${options.broker}: starting the order service, ${bus.server ?? "server unknown"}`);
    const world = createWorld(ledger, workMs);
    const subscriptions = await startService(bus, world);
    await publishOrders(bus, readOrders({ ...options, signal }), ledger, { rate: options.rate, signal });
    await settle(ledger, progress);
    if (!signal.aborted) await redrive(bus, ledger, world, progress);
    return await close(bus, ledger, subscriptions, {
      broker: options.broker,
      server: bus.server ?? "unknown",
      seconds: Math.round((performance.now() - began) / 100) / 10,
      stoppedBy: signal.aborted ? String(signal.reason) : null,
    });
  } finally {
    progress.stop();
    stopListening();
  }
}

async function settle(ledger: Ledger, progress: Progress): Promise<void> {
  if (await ledger.quiet(patienceMs)) return;
  const waiting = ledger.pages.map(({ group, waiting: { size } }) => `${group} ${size}`).join(", ");
  progress.note(`nothing moved for ${patienceMs / 1000} s; without a fate: ${waiting}`);
}

/** The bug is fixed: what was given up for it goes back to the group that gave it up, and to no other. */
async function redrive(bus: Bus, ledger: Ledger, world: World, progress: Progress): Promise<void> {
  world.fix();
  for (const page of ledger.pages) {
    const exhausted = page.deadLettered.get("exhausted") ?? 0;
    if (exhausted === 0) continue;
    progress.note(`the bug is fixed: redriving ${exhausted} dead letters of ${page.group}`);
    await deadLettersOf(bus, page).redrive({
      filter: ({ id, reason }) => {
        const matches = reason === "exhausted" && id?.startsWith(ledger.run) === true;
        if (matches) ledger.redrive(page, id);
        return matches;
      },
    });
  }
  await settle(ledger, progress);
}

async function close(
  bus: Bus,
  ledger: Ledger,
  subscriptions: readonly Subscription[],
  heading: Parameters<typeof takeAccount>[3],
): Promise<Account> {
  await Promise.all(subscriptions.map((subscription) => subscription.drain()));
  return takeAccount(bus, ledger, subscriptions, heading);
}

function report(account: Account): string {
  const { broker, server, seconds, stoppedBy, lost, duplicates, problems } = account;
  const stopped = stoppedBy === null ? "" : `, stopped by ${stoppedBy}`;
  const verdict = problems.length === 0 ? "The account adds up" : `The account does NOT add up:\n  ${problems.join("\n  ")}\n`;
  return [
    "",
    `The order service on ${broker} (${server}), ${seconds} s${stopped}`,
    "",
    picture(account),
    "",
    `${verdict}: lost ${lost}, duplicates ${duplicates}.`,
  ].join("\n");
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) process.stderr.write(`${error.message}\nTry --help.\n`);
  else process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
