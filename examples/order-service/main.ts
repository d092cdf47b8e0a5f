import { randomUUID } from "node:crypto";
import { type Bus, connect, type Subscription } from "@sluice/core";
import { type Account, deadLettersOf, takeAccount } from "./account.ts";
import { chooseBroker } from "./broker.ts";
import { Ledger } from "./ledger.ts";
import { type DemoOptions, readOptions, usage, UsageError } from "./options.ts";
import { readOrders } from "./orders.ts";
import { report } from "./picture.ts";
import { type Progress, showProgress } from "./progress.ts";
import { startService } from "./service.ts";
import { publishOrders } from "./shop.ts";
import { createWorld, type World } from "./world.ts";

/** How long nothing at all may move before the run gives up. */
const patienceMs = 30_000;
/** How long a partner works on one call. */
const workMs = 15;

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options.help) {
    process.stdout.write(usage);
    return 0;
  }
  const signal = listenForSignals();
  const broker = await chooseBroker(options.broker, (line) => void process.stderr.write(`${line}\n`));
  try {
    const bus = await connect(broker.driver, { clientName: "order-service" });
    const account = await runOn(bus, options, signal);
    process.stdout.write(options.json ? `${JSON.stringify(account, undefined, 2)}\n` : report(account));
    return account.problems.length === 0 ? 0 : 1;
  } finally {
    await broker.stop();
  }
}

/** The first signal ends the reading of orders; the second one ends the process. */
function listenForSignals(): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(130);
      stop.abort(name);
    });
  }
  return stop.signal;
}

async function runOn(bus: Bus, options: DemoOptions, signal: AbortSignal): Promise<Account> {
  const ledger = new Ledger(randomUUID().slice(0, 8));
  const stopListening = ledger.listen();
  const progress = showProgress(ledger, options.messages, process.stderr);
  signal.addEventListener("abort", () => progress.note(`${signal.reason}: waiting for what was published`));
  try {
    progress.note(`${options.broker}: ${bus.server ?? "server unknown"}`);
    return await run(bus, ledger, options, progress, signal);
  } finally {
    progress.stop();
    stopListening();
    await bus.drain();
  }
}

async function run(
  bus: Bus,
  ledger: Ledger,
  options: DemoOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<Account> {
  const began = performance.now();
  const world = createWorld(ledger, workMs);
  const subscriptions: readonly Subscription[] = await startService(bus, world);
  await publishOrders(bus, readOrders({ ...options, signal }), ledger, { rate: options.rate, signal });
  await waitForFates(ledger, progress);
  if (!signal.aborted) await redrive(bus, ledger, world, progress);
  await Promise.all(subscriptions.map((subscription) => subscription.drain()));
  return takeAccount(bus, ledger, subscriptions, {
    broker: options.broker,
    server: bus.server ?? "unknown",
    seconds: Math.round((performance.now() - began) / 100) / 10,
    stoppedBy: signal.aborted ? String(signal.reason) : null,
  });
}

async function waitForFates(ledger: Ledger, progress: Progress): Promise<void> {
  if (await ledger.quiet(patienceMs)) return;
  const waiting = ledger.pages.map(({ group, waiting: { size } }) => `${group} ${size}`).join(", ");
  progress.note(`nothing moved for ${patienceMs / 1000} s; still without a fate: ${waiting}`);
}

/** The bug is fixed: what was given up because of it goes back to the group that gave it up, and to no other. */
async function redrive(bus: Bus, ledger: Ledger, world: World, progress: Progress): Promise<void> {
  world.fix();
  for (const page of ledger.pages) {
    const exhausted = page.deadLettered.get("exhausted") ?? 0;
    if (exhausted === 0) continue;
    progress.note(`the bug is fixed: redriving ${exhausted} dead letters of ${page.group}`);
    await deadLettersOf(bus, page).redrive({
      filter: ({ id, reason }) => {
        if (id === undefined || reason !== "exhausted" || !id.startsWith(ledger.run)) return false;
        ledger.redrive(page, id);
        return true;
      },
    });
  }
  await waitForFates(ledger, progress);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const hint = error instanceof UsageError ? "\nTry --help." : "";
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}${hint}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
