/**
 * Runs the kit against drivers with one defect each: `npm run conformance:mutants`. Fails when a defect stays unseen, when a
 * case that should see it does not, when a case fails without any defect, and when a required case sees no defect at all.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type Case, type CaseResult, catalogue, type Facts, openSession } from "@sluice/conformance";
import { mutantHarness } from "./harness.ts";
import { mutants } from "./index.ts";
import type { Mutant } from "./mutant.ts";

interface Verdict {
  readonly name: string;
  readonly defect: string;
  /** Cases that failed, with the first line of why. */
  readonly caughtBy: readonly { readonly id: string; readonly why: string }[];
  /** Cases that should have failed and passed. */
  readonly missedBy: readonly string[];
}

const harnessModule = new URL("./harness.ts", import.meta.url);
const output = new URL("../../../docs/conformance/mutants.json", import.meta.url);
const print = (text: string): void => void process.stdout.write(`${text}\n`);

function caseOf(id: string): Case {
  const found = catalogue.find((stated) => stated.id === id);
  if (!found) throw new Error(`no case "${id}" in the catalogue`);
  return found;
}

/** Runs tasks, so many at a time. */
async function inLanes<T>(width: number, tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  const queue = tasks.entries();
  const lane = async () => {
    for (const [index, task] of queue) results[index] = await task();
  };
  await Promise.all(Array.from({ length: width }, lane));
  return results;
}

async function judge(mutant: Mutant, facts: Facts): Promise<Verdict> {
  // A child process gets its environment when it is started: only one mutant at a time may start children.
  const session = await openSession(harnessModule, {
    profile: "standard",
    seed: 1,
    harness: mutantHarness(mutant),
    facts: mutant.facts?.(facts) ?? facts,
  });
  try {
    const results = await inLanes(
      3,
      mutant.killedBy.map((id) => () => session.runCase(caseOf(id))),
    );
    const caught = results.filter((result) => result.status === "fail");
    return {
      name: mutant.name,
      defect: mutant.defect,
      caughtBy: caught.map(({ id, reason = "" }) => ({ id, why: reason.split("\n")[0]?.slice(0, 160) ?? "" })),
      missedBy: results.filter((result) => result.status !== "fail").map(({ id }) => id),
    };
  } finally {
    await session.close();
  }
}

/** Without a defect every case that judges must pass: otherwise its failures prove nothing. */
async function control(
  ids: readonly string[],
): Promise<{ readonly facts: Facts; readonly failed: readonly CaseResult[] }> {
  const session = await openSession(harnessModule, { profile: "standard", seed: 1, harness: mutantHarness(undefined) });
  try {
    const results = await inLanes(
      6,
      ids.map((id) => () => session.runCase(caseOf(id))),
    );
    return { facts: session.facts, failed: results.filter((result) => result.status !== "pass") };
  } finally {
    await session.close();
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { mutant: { type: "string", multiple: true }, "no-write": { type: "boolean" } },
  });
  const chosen = mutants.filter((mutant) => !values.mutant || values.mutant.includes(mutant.name));
  const started = Date.now();
  const ids = [...new Set(chosen.flatMap((mutant) => mutant.killedBy))].sort();
  const { facts, failed } = await control(ids);
  for (const { id, status, reason } of failed) print(`${id} does not pass without a defect: ${status} ${reason}`);
  if (failed.length > 0) return 1;
  print(`${ids.length} cases pass without a defect, ${((Date.now() - started) / 1000).toFixed(1)} s`);
  const withChildren = (mutant: Mutant) => mutant.killedBy.some((id) => caseOf(id).uses?.includes("processes"));
  const run = async (mutant: Mutant): Promise<Verdict> => {
    const begun = Date.now();
    const verdict = await judge(mutant, facts);
    const took = ((Date.now() - begun) / 1000).toFixed(1);
    const caught = verdict.caughtBy.map(({ id }) => id).join(", ") || "NOBODY";
    print(
      `${took.padStart(5)} s ${verdict.name.padEnd(38)} caught by ${caught}${verdict.missedBy.length > 0 ? `; MISSED by ${verdict.missedBy.join(", ")}` : ""}`,
    );
    return verdict;
  };
  const verdicts = await inLanes(
    12,
    chosen.filter((mutant) => !withChildren(mutant)).map((mutant) => () => run(mutant)),
  );
  for (const mutant of chosen.filter(withChildren)) {
    process.env["CONFORMANCE_MUTANT"] = mutant.name;
    verdicts.push(await run(mutant));
  }
  return report(verdicts, values.mutant === undefined, values["no-write"] !== true, started);
}

function report(verdicts: readonly Verdict[], complete: boolean, write: boolean, started: number): number {
  const survivors = verdicts.filter((verdict) => verdict.caughtBy.length === 0);
  const missed = verdicts.filter((verdict) => verdict.missedBy.length > 0);
  const useful = new Set(verdicts.flatMap((verdict) => verdict.caughtBy.map(({ id }) => id)));
  const idle = complete
    ? catalogue.filter((stated) => stated.required && !useful.has(stated.id)).map(({ id }) => id)
    : [];
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  print(
    `${verdicts.length - survivors.length} of ${verdicts.length} defects caught by ${useful.size} cases in ${seconds} s`,
  );
  if (survivors.length > 0) print(`survived: ${survivors.map(({ name }) => name).join(", ")}`);
  if (idle.length > 0) print(`required cases that caught nothing: ${idle.join(", ")}`);
  if (complete && write) {
    mkdirSync(new URL(".", output), { recursive: true });
    const sorted = verdicts.toSorted((one, two) => one.name.localeCompare(two.name));
    writeFileSync(
      output,
      `${JSON.stringify({ mutants: sorted.length, caught: sorted.length - survivors.length, verdicts: sorted }, null, 2)}\n`,
    );
  }
  return survivors.length > 0 || missed.length > 0 || idle.length > 0 ? 1 : 0;
}

// Mutants hang and leak on purpose: what is left of them must not keep this process alive.
process.on("unhandledRejection", () => {});
process.exit(
  await main().catch((error: unknown) => {
    print(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return 1;
  }),
);
