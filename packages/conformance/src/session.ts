import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Case, CaseResult, Facts, Profile } from "./case.ts";
import { InvalidError } from "./case.ts";
import { monotonicMs, within } from "./clock.ts";
import { CaseContext } from "./context.ts";
import { describe } from "./flow.ts";
import { type BrokerControl, type Harness, loadHarness } from "./harness.ts";
import { Journal } from "./ledger.ts";
import { decide } from "./plan.ts";
import { selfCheck } from "./self-check.ts";

export interface SessionOptions {
  readonly profile: Profile;
  /** Fixes every random choice of the cases. @default drawn, and reported */
  readonly seed?: number;
  /** Instead of the harness's own. */
  readonly control?: BrokerControl;
  /** Sends as many messages as this profile does. @default the profile itself */
  readonly sizes?: Profile;
  /** Keep the ledgers. @default a temporary folder, removed at the end */
  readonly directory?: string;
  /** Instead of importing the module: for harnesses that differ from it only in this process. */
  readonly harness?: Harness;
  /** Facts of an earlier session with the same broker: the self-check is left out. */
  readonly facts?: Facts;
}

/** One harness, opened and checked: runs cases, one at a time or several at once. */
export interface Session {
  readonly harness: Harness;
  readonly facts: Facts;
  readonly profile: Profile;
  readonly run: string;
  readonly seed: number;
  /** Never rejects. */
  runCase(stated: Case): Promise<CaseResult>;
  close(): Promise<void>;
}

/**
 * Loads the harness, asks the live connection what it can do, and checks the raw client against it.
 * @throws InvalidError when the harness itself does not work: no case may run then
 */
export async function openSession(url: string | URL, options: SessionOptions): Promise<Session> {
  const loaded = options.harness ?? (await loadHarness(url));
  const harness = options.control ? { ...loaded, control: options.control } : loaded;
  const run = `${Math.random().toString(36).slice(2, 8)}${process.pid.toString(36)}`;
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 31);
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), "sluice-conformance-"));
  const raw = await harness.raw();
  let facts: Facts;
  try {
    facts = options.facts ?? (await selfCheck(harness, raw, run, new Journal(join(directory, "self-check"))));
  } catch (error) {
    await raw.close();
    throw new InvalidError(`the harness of ${harness.environment.name} failed its self-check: ${describe(error)}`, {
      cause: error,
    });
  }
  const { profile, sizes = profile } = options;
  const shared = { harness, facts, raw, run, seed, url: String(url), sizes };
  let number = 0;
  return {
    harness,
    facts,
    profile,
    run,
    seed,
    runCase(stated) {
      const round = ++number;
      const journal = () => new Journal(join(directory, `${stated.id}-${round}`));
      return execute(stated, () => new CaseContext({ ...shared, id: stated.id, round, journal: journal() }), {
        harness,
        facts,
        profile,
      });
    },
    async close() {
      await raw.close();
      await harness.close?.();
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function execute(
  stated: Case,
  open: () => CaseContext,
  parts: { readonly harness: Harness; readonly facts: Facts; readonly profile: Profile },
): Promise<CaseResult> {
  const { id, title, rule, required } = stated;
  const base = { id, title, rule, required };
  const decision = decide(stated, parts.harness, parts.facts, parts.profile);
  if (decision.kind === "skip") {
    return { ...base, status: "skip", skip: decision.skip, reason: decision.reason, durationMs: 0, metrics: {} };
  }
  if (decision.kind === "invalid") {
    return { ...base, status: "invalid", reason: decision.reason, durationMs: 0, metrics: {} };
  }
  const started = monotonicMs();
  const context = open();
  const problem = await attempt(stated, context, decision.run);
  const result = {
    ...base,
    tested: decision.tested,
    durationMs: Math.round(monotonicMs() - started),
    metrics: context.metrics,
  };
  if (decision.waiver) {
    if (problem === undefined) return { ...result, status: "fail", reason: `the waiver ${decision.waiver} is stale` };
    return { ...result, status: "skip", skip: "waiver", reason: `${decision.waiver}: ${textOf(problem)}` };
  }
  if (problem === undefined) return { ...result, status: "pass" };
  return { ...result, status: problem instanceof InvalidError ? "invalid" : "fail", reason: textOf(problem) };
}

async function attempt(
  stated: Case,
  context: CaseContext,
  run: (context: CaseContext) => Promise<void>,
): Promise<unknown> {
  const limit = stated.limitMs ?? 40_000 + 4 * context.harness.timing.recoveryMs;
  const problems: unknown[] = [];
  try {
    await within(limit, `the whole case ${stated.id}`, run(context), () => context.journal.tail());
  } catch (error) {
    problems.push(error);
  }
  problems.push(...(await context.close()));
  return problems[0];
}

function textOf(problem: unknown): string {
  if (!(problem instanceof Error)) return describe(problem);
  const place = problem.stack?.split("\n").find((line) => /\/cases\//.test(line));
  // Reports are committed: they name a place in the kit, not on this machine.
  const where = place?.trim().replace(/file:\S*\/(?=cases\/)/, "");
  return `${problem.name}: ${problem.message}${where ? `\n${where}` : ""}`;
}
