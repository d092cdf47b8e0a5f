/** First module of every child process: waits for its task, loads the harness by path, and runs the worker. */
import { loadHarness } from "./harness.ts";
import { Ledger } from "./ledger.ts";
import type { WorkerTask } from "./supervisor.ts";
import { workers } from "./workers/index.ts";

const stopped = Promise.withResolvers<void>();

// The channel is how a child learns that its parent is gone; it must not keep the child alive by itself.
process.on("disconnect", () => process.exit(70));
process.on("message", (received: WorkerTask | { readonly stop: true }) => {
  if ("stop" in received) return stopped.resolve();
  process.channel?.unref();
  void work(received);
});

async function work(task: WorkerTask): Promise<void> {
  const ledger = new Ledger(task.ledger, task.process, true);
  const report = (error: unknown) => {
    ledger.write("problem", { detail: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    process.exitCode = 1;
  };
  process.on("unhandledRejection", report);
  process.on("uncaughtException", report);
  process.on("warning", (warning) =>
    ledger.write("problem", { detail: `warning ${warning.name}: ${warning.message}` }),
  );
  try {
    const worker = workers[task.worker];
    if (!worker) throw new Error(`conformance: no worker "${task.worker}"`);
    const harness = await loadHarness(task.harness);
    await worker({ harness, ledger, run: task.run, stopped: stopped.promise, options: task.options });
  } catch (error) {
    report(error);
    process.exit(1);
  }
}
