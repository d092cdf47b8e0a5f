import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type Bus, connect, type Subscription } from "@sluice/core";
import { type Account, deadLettersOf, paceOf, takeAccount } from "./account.ts";
import { type BrokerName, brokerNames, chooseBroker, UnavailableBrokerError } from "./broker.ts";
import { createIntake, type FetchHandler } from "./intake.ts";
import { Ledger } from "./ledger.ts";
import { type DemoOptions, readOptions, usage, UsageError } from "./options.ts";
import { readOrders } from "./orders.ts";
import { overview, type Row } from "./overview.ts";
import { report } from "./picture.ts";
import { type Progress, showProgress } from "./progress.ts";
import { serve } from "./server.ts";
import { startService } from "./service.ts";
import { publishOrders } from "./shop.ts";
import { createWorld, type World } from "./world.ts";

/** How long nothing at all may move before the run gives up. */
const patienceMs = 30_000;
/** How long a partner works on one call. */
const workMs = 15;

const EX_UNAVAILABLE = 69;

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options.help) {
    process.stdout.write(usage);
    return 0;
  }
  const signal = listenForSignals();
  const { broker } = options;
  if (broker === "all") return runOnAll(options, signal);
  const account = await runOn(broker, options, signal);
  process.stdout.write(options.json ? json(account) : report(account));
  return account.problems.length === 0 ? 0 : 1;
}

async function runOnAll(options: DemoOptions, signal: AbortSignal): Promise<number> {
  const rows: Row[] = [];
  for (const broker of brokerNames) {
    if (signal.aborted) break;
    const row = await runOn(broker, options, signal).catch((error: unknown): Row => {
      if (error instanceof UnavailableBrokerError) return { broker, unavailable: error.message };
      return { broker, failed: error instanceof Error ? error.message : String(error) };
    });
    rows.push(row);
  }
  process.stdout.write(options.json ? json(rows) : overview(rows));
  return rows.every((row) => "unavailable" in row || ("problems" in row && row.problems.length === 0)) ? 0 : 1;
}

async function runOn(name: BrokerName, options: DemoOptions, signal: AbortSignal): Promise<Account> {
  const broker = await chooseBroker(name, (line) => void process.stderr.write(`${line}\n`));
  try {
    const bus = await connect(broker.driver, { clientName: "order-service" });
    return await runWith(bus, name, options, signal);
  } finally {
    await broker.stop();
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
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

async function runWith(bus: Bus, broker: BrokerName, options: DemoOptions, signal: AbortSignal): Promise<Account> {
  const ledger = new Ledger(randomUUID().slice(0, 8));
  const stopListening = ledger.listen();
  const expected = options.listen === undefined ? options.messages : undefined;
  const progress = showProgress(ledger, expected, process.stderr);
  const say = (): void => progress.note(`${signal.reason}: waiting for what was published`);
  signal.addEventListener("abort", say, { once: true });
  try {
    progress.note(`${broker}: ${bus.server ?? "server unknown"}`);
    const account = await run(bus, ledger, options, progress, signal);
    return { broker, ...account };
  } finally {
    signal.removeEventListener("abort", say);
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
): Promise<Omit<Account, "broker">> {
  const began = performance.now();
  const world = createWorld(ledger, workMs);
  const subscriptions: readonly Subscription[] = await startService(bus, world);
  const ready = performance.now();
  if (options.listen !== undefined) await takeOrders(bus, options.listen, ledger, progress, signal);
  else await publishOrders(bus, readOrders({ ...options, signal }), ledger, { rate: options.rate, signal });
  await waitForFates(ledger, progress);
  const pace = paceOf(ledger, (performance.now() - ready) / 1000);
  if (!signal.aborted) await redrive(bus, ledger, world, progress);
  await Promise.all(subscriptions.map((subscription) => subscription.drain()));
  return takeAccount(bus, ledger, subscriptions, {
    server: bus.server ?? "unknown",
    seconds: Math.round((performance.now() - began) / 100) / 10,
    pace,
    stoppedBy: signal.aborted ? String(signal.reason) : null,
  });
}

/** Serves until the signal. In a service of your own: `serve`, `await bus.run()`, `close`. */
async function takeOrders(
  bus: Bus,
  port: number,
  ledger: Ledger,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const nextId = (): string => {
    ledger.read++;
    const id = ledger.nextId();
    ledger.sending(id);
    return id;
  };
  const intake = createIntake(bus, { id: nextId });
  const counted: FetchHandler = async (request) => {
    const response = await intake(request);
    const { pathname } = new URL(request.url);
    if (request.method === "POST" && pathname === "/orders" && response.status !== 202)
      ledger.refuse(`answered with ${response.status}`);
    return response;
  };
  const server = await serve(counted, port);
  progress.note(`listening on ${server.url}; Ctrl-C ends it`);
  if (!signal.aborted) await once(signal, "abort");
  await server.close();
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
  process.exitCode = error instanceof UsageError ? 2 : error instanceof UnavailableBrokerError ? EX_UNAVAILABLE : 1;
}
