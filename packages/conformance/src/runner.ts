import { catalogue } from "./cases/index.ts";
import type { Case, CaseResult } from "./case.ts";
import { monotonicMs } from "./clock.ts";
import { describe } from "./flow.ts";
import { makeReport, type Report } from "./report.ts";
import { openSession, type Session, type SessionOptions } from "./session.ts";

export interface RunOptions extends SessionOptions {
  /** Only these ids. @default all of the profile */
  readonly cases?: readonly string[];
  /** @default 1 */
  readonly repeat?: number;
  /** Cases that run at once. @default the harness's; 1 in the fault profile */
  readonly parallel?: number;
  /** Called for every result as it comes, with how many are done and how many there are. */
  readonly onResult?: (result: CaseResult, done: number, all: number) => void;
  readonly onStart?: (stated: Case) => void;
}

/** Runs the catalogue against a harness, without any test runner. */
export async function runConformance(url: string | URL, options: RunOptions): Promise<Report> {
  const startedAt = new Date();
  const started = monotonicMs();
  const stray: unknown[] = [];
  const onStray = (error: unknown) => void stray.push(error);
  process.on("unhandledRejection", onStray);
  try {
    const session = await openSession(url, options);
    try {
      const chosen = choose(options.cases);
      const all = Array.from({ length: options.repeat ?? 1 }, () => chosen).flat();
      const results = await runAll(session, all, options);
      if (stray.length > 0) results.push(strayResult(stray));
      return makeReport(session, results, { startedAt, durationMs: monotonicMs() - started });
    } finally {
      await session.close();
    }
  } finally {
    process.off("unhandledRejection", onStray);
  }
}

function choose(ids: readonly string[] | undefined): readonly Case[] {
  if (!ids) return catalogue;
  return ids.map((id) => {
    const found = catalogue.find((stated) => stated.id === id);
    if (!found) throw new TypeError(`conformance: no case "${id}"; the catalogue has ${catalogue.length} others`);
    return found;
  });
}

async function runAll(session: Session, all: readonly Case[], options: RunOptions): Promise<CaseResult[]> {
  const results = new Map<number, CaseResult>();
  const width = options.parallel ?? (session.profile === "fault" ? 1 : (session.harness.parallel ?? 4));
  const lanes = (numbers: readonly number[], count: number) => {
    const queue = numbers.values();
    const lane = async () => {
      for (const number of queue) {
        const stated = all[number];
        if (!stated) continue;
        options.onStart?.(stated);
        const result = await session.runCase(stated);
        results.set(number, result);
        options.onResult?.(result, results.size, all.length);
      }
    };
    return Promise.all(Array.from({ length: count }, lane));
  };
  const numbers = all.map((_, number) => number);
  const alone = (number: number) => all[number]?.serial === true || all[number]?.profile === "fault";
  await lanes(
    numbers.filter((number) => !alone(number)),
    width,
  );
  await lanes(numbers.filter(alone), 1);
  return numbers.flatMap((number) => results.get(number) ?? []);
}

function strayResult(stray: readonly unknown[]): CaseResult {
  return {
    id: "RUN",
    title: "No unhandled rejection in the whole run",
    rule: "Nothing that a user or a broker does ends in an unhandled rejection.",
    required: true,
    status: "fail",
    reason: stray.map(describe).join("\n"),
    durationMs: 0,
    metrics: {},
  };
}
