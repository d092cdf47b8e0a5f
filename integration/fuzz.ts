import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { problemsOf, textOf } from "./fuzz/report.ts";
import type { Orders, Report } from "./fuzz/worker.ts";

const help = `Feeds hostile inputs to everything that reads what others wrote: codecs, wire middleware, the mappings of all
drivers, dead-letter and trace headers, the client of a schema registry; and a tenth as many messages to a bus.

npm run fuzz -- [options]
  --inputs N   how many (default 100000)
  --seed N     decides all of them (default 1); every finding names the seed and the number of its input
  --only N     the input with this number alone
  --json       the report as JSON
  --help

A finding is: an error that the code does not promise, a wrong result, more than 50 ms of processor time for one input (in
the best of five further runs), a promise that nobody caught, an input that never ends, a lost or changed message.

Exit code: 0 = no findings, 1 = findings, 2 = wrong options`;

/** Nothing takes longer than this, on any machine: the input never ends. */
const stuckMs = 20_000;

const options = {
  inputs: { type: "string", default: "100000" },
  seed: { type: "string", default: "1" },
  only: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

function wanted(): ReturnType<typeof parseArgs<{ options: typeof options }>>["values"] {
  try {
    const { values } = parseArgs({ options });
    for (const name of ["inputs", "seed", "only"] as const) {
      const value = values[name];
      if (value !== undefined && !/^\d{1,9}$/.test(value))
        throw new TypeError(`--${name} is "${value}"; give a whole number`);
    }
    return values;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${help}`);
    process.exit(2);
  }
}

/** In another thread, so that an input that never ends can be named. */
function run(orders: Orders): Promise<Report> {
  const worker = new Worker(new URL("fuzz/worker.ts", import.meta.url), { workerData: orders });
  const beganMs = performance.now();
  let seen = { index: -1, sinceMs: beganMs };
  return new Promise<Report>((resolve, reject) => {
    const watch = setInterval(() => {
      const index = Atomics.load(orders.at, 0);
      const nowMs = performance.now();
      if (index !== seen.index) seen = { index, sinceMs: nowMs };
      progress(index, orders.inputs, nowMs - beganMs);
      // n.b. Before the first input and behind the last one it does other things.
      if (nowMs - seen.sinceMs < stuckMs || index < 0 || index >= orders.inputs - 1) return;
      reject(new Error(`input ${index} never ends: npm run fuzz -- --seed ${orders.seed} --only ${index}`));
      void worker.terminate();
    }, 200);
    worker.once("message", resolve);
    worker.once("error", (error) => {
      reject(
        new Error(`input ${Atomics.load(orders.at, 0)} of seed ${orders.seed} ended the thread`, { cause: error }),
      );
    });
    worker.once("exit", (code) => {
      clearInterval(watch);
      reject(new Error(`the thread ended with ${code} at input ${Atomics.load(orders.at, 0)} of seed ${orders.seed}`));
    });
  });
}

function progress(index: number, inputs: number, ms: number): void {
  if (!process.stderr.isTTY || index < 0) return;
  const rate = Math.round((index / ms) * 1000);
  process.stderr.write(`\r${Math.round((index / inputs) * 100)} %, ${index} of ${inputs}, ${rate}/s \u001b[K`);
}

const values = wanted();
if (values.help) {
  console.log(help);
} else {
  const at = new Int32Array(new SharedArrayBuffer(4)).fill(-1);
  const only = values.only === undefined ? undefined : Number(values.only);
  try {
    const report = await run({ inputs: Number(values.inputs), seed: Number(values.seed), only, at });
    if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
    console.log(values.json ? JSON.stringify(report, undefined, 2) : textOf(report));
    process.exitCode = problemsOf(report).length === 0 ? 0 : 1;
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
}
