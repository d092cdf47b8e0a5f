/**
 * Runs the kit against drivers with one defect each: `npm run conformance:mutants`. Fails when a defect stays unseen, when a
 * case that should see it does not, when a case fails without any defect, and when a case sees no defect at all.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import {
  type Case,
  type CaseResult,
  catalogue,
  type Facts,
  type Harness,
  openSession,
  type Profile,
} from "@sluice/conformance";
import { harnessFor } from "./harness.ts";
import { mutants } from "./index.ts";
import type { Base, Mutant } from "./mutant.ts";

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
const secondsSince = (begun: number): string => ((Date.now() - begun) / 1000).toFixed(1);

function caseOf(id: string): Case {
  const found = catalogue.find((stated) => stated.id === id);
  if (!found) throw new Error(`no case "${id}" in the catalogue`);
  return found;
}

/** Lets so many tasks run at a time, whoever asks. */
function lanes(width: number): <T>(run: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let free = width;
  return async (run) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await run();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}

/** Cases mostly wait; those that start processes do not, and measure how long these take. */
const inLane = { waiting: lanes(30), processes: lanes(1) };

/** Runs cases against one driver. Smoke sizes: what a few messages show needs no thousands. */
async function runCases(make: () => Harness, ids: readonly string[], facts: Facts): Promise<readonly CaseResult[]> {
  const results = ids.map(caseOf).map((stated) => {
    const lane = stated.id === "G-21" ? "processes" : "waiting";
    return inLane[lane](() => runAlone(make(), stated, facts));
  });
  return Promise.all(results);
}

/** With a broker of its own: some cases cut everybody's connections. */
async function runAlone(harness: Harness, stated: Case, facts: Facts): Promise<CaseResult> {
  const profile: Profile = stated.profile === "fault" ? "fault" : "standard";
  const session = await openSession(harnessModule, { profile, sizes: "smoke", seed: 1, harness, facts });
  try {
    return await session.runCase(stated);
  } finally {
    await session.close();
  }
}

async function judge(mutant: Mutant, facts: Facts): Promise<Verdict> {
  const begun = Date.now();
  const make = () => harnessFor(mutant.of ?? "memory", mutant);
  const results = await runCases(make, mutant.killedBy, mutant.facts?.(facts) ?? facts);
  const caught = results.filter((result) => result.status === "fail");
  const verdict: Verdict = {
    name: mutant.name,
    defect: mutant.defect,
    caughtBy: caught.map(({ id, reason = "" }) => ({ id, why: reason.split("\n")[0]?.slice(0, 160) ?? "" })),
    missedBy: results.filter((result) => result.status !== "fail").map(({ id }) => id),
  };
  const names = verdict.caughtBy.map(({ id }) => id).join(", ") || "NOBODY";
  const missed = verdict.missedBy.length > 0 ? `; MISSED by ${verdict.missedBy.join(", ")}` : "";
  print(`${secondsSince(begun).padStart(5)} s ${verdict.name.padEnd(38)} caught by ${names}${missed}`);
  return verdict;
}

/** Without a defect every case that judges must pass: otherwise its failures prove nothing. */
async function control(base: Base, ids: readonly string[], facts: Facts): Promise<readonly CaseResult[]> {
  const begun = Date.now();
  const results = await runCases(() => harnessFor(base), ids, facts);
  const failed = results.filter((result) => result.status !== "pass");
  for (const { id, status, reason } of failed) print(`${base}: ${id} fails without a defect: ${status} ${reason}`);
  const passed = `${results.length - failed.length} of ${ids.length} cases`;
  print(`${secondsSince(begun).padStart(5)} s ${base} without a defect: ${passed} pass`);
  return failed;
}

async function factsOf(base: Base): Promise<Facts> {
  const options = { profile: "smoke", seed: 1, harness: harnessFor(base) } as const;
  const session = await openSession(harnessModule, options);
  await session.close();
  return session.facts;
}

async function judgeAll(base: Base, group: readonly Mutant[]) {
  const ids = [...new Set(group.flatMap((mutant) => mutant.killedBy))].sort();
  const facts = await factsOf(base);
  const [failed, verdicts] = await Promise.all([
    control(base, ids, facts),
    Promise.all(group.map((mutant) => judge(mutant, facts))),
  ]);
  return { failed, verdicts };
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { mutant: { type: "string", multiple: true }, "no-write": { type: "boolean" } },
  });
  const chosen = mutants.filter((mutant) => !values.mutant || values.mutant.includes(mutant.name));
  const started = Date.now();
  const byBase = Map.groupBy(chosen, (mutant) => mutant.of ?? "memory");
  const judged = await Promise.all([...byBase].map(([base, group]) => judgeAll(base, group)));
  const failed = judged.flatMap((each) => each.failed);
  const verdicts = judged.flatMap((each) => each.verdicts);
  const complete = values.mutant === undefined;
  if (complete && values["no-write"] !== true && failed.length === 0) write(verdicts);
  return Math.max(failed.length > 0 ? 1 : 0, report(verdicts, complete, started));
}

function report(verdicts: readonly Verdict[], complete: boolean, started: number): number {
  const survivors = verdicts.filter((verdict) => verdict.caughtBy.length === 0);
  const missed = verdicts.filter((verdict) => verdict.missedBy.length > 0);
  const useful = new Set(verdicts.flatMap((verdict) => verdict.caughtBy.map(({ id }) => id)));
  const idle = complete ? catalogue.filter((stated) => !useful.has(stated.id)).map(({ id }) => id) : [];
  const caught = verdicts.length - survivors.length;
  print(`${caught} of ${verdicts.length} defects caught by ${useful.size} cases in ${secondsSince(started)} s`);
  if (survivors.length > 0) print(`survived: ${survivors.map(({ name }) => name).join(", ")}`);
  if (idle.length > 0) print(`cases that caught nothing: ${idle.join(", ")}`);
  return survivors.length > 0 || missed.length > 0 || idle.length > 0 ? 1 : 0;
}

function write(verdicts: readonly Verdict[]): void {
  mkdirSync(new URL(".", output), { recursive: true });
  const sorted = verdicts.toSorted((one, two) => one.name.localeCompare(two.name));
  const caught = sorted.filter((verdict) => verdict.caughtBy.length > 0).length;
  writeFileSync(output, `${JSON.stringify({ mutants: sorted.length, caught, verdicts: sorted }, null, 2)}\n`);
}

// Mutants hang and leak on purpose: what is left of them must not keep this process alive.
process.on("unhandledRejection", () => {});
process.exit(
  await main().catch((error: unknown) => {
    print(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return 1;
  }),
);
