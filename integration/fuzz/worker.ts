import { parentPort, workerData } from "node:worker_threads";
import { type Account, account } from "./bus.ts";
import { corpus } from "./corpus.ts";
import { type Finding, fuzz, type Fuzzed } from "./run.ts";
import { allTargets } from "./targets/index.ts";

export interface Orders {
  readonly inputs: number;
  readonly seed: number;
  readonly only: number | undefined;
  /** Where it is: the number of the input, so that the other thread sees where it stands still. */
  readonly at: Int32Array;
}

export interface Report extends Fuzzed {
  readonly again: readonly Finding[];
  readonly account: Account | undefined;
}

const { inputs, seed, only, at } = workerData as Orders;
const targets = await allTargets();
try {
  const again = only === undefined ? await corpus(targets) : [];
  const before = (index: number) => void Atomics.store(at, 0, index);
  const fuzzed = await fuzz({ inputs, seed, targets, before, ...(only !== undefined && { only }) });
  const report: Report = {
    ...fuzzed,
    again,
    account: only === undefined ? await account(Math.ceil(inputs / 10), seed) : undefined,
  };
  parentPort?.postMessage(report);
} finally {
  for (const target of targets) await target.close?.();
}
