import { readFileSync, writeFileSync } from "node:fs";
import type { Capabilities, Limits } from "@sluice/core/driver";
import type { CaseResult, Profile } from "./case.ts";
import type { EnvironmentKind } from "./harness.ts";
import type { Session } from "./session.ts";

/** One run of the kit against one broker. The published tables are made from these and from nothing else. */
export interface Report {
  readonly kit: string;
  readonly adapter: string;
  readonly clients: Readonly<Record<string, string>>;
  readonly broker: string;
  /** What the server calls itself. */
  readonly server: string;
  readonly version: string;
  readonly environment: EnvironmentKind;
  readonly provider: string;
  readonly node: string;
  readonly profile: Profile;
  readonly seed: number;
  readonly run: string;
  readonly startedAt: string;
  readonly durationMs: number;
  readonly totals: Readonly<Record<CaseResult["status"], number>>;
  readonly capabilities: Capabilities;
  /** `null` stands for no limit: JSON has no infinity. */
  readonly limits: Limits;
  readonly cases: readonly CaseResult[];
}

/** This package's version. */
function kitVersion(): string {
  const file = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(file) as { readonly version: string }).version;
}

export function makeReport(
  session: Session,
  cases: readonly CaseResult[],
  times: { readonly startedAt: Date; readonly durationMs: number },
): Report {
  const { harness, facts } = session;
  const count = (status: CaseResult["status"]) => cases.filter((result) => result.status === status).length;
  return {
    kit: kitVersion(),
    adapter: harness.adapter,
    clients: harness.clients,
    broker: harness.environment.name,
    server: facts.server,
    version: harness.environment.version ?? /\d+(\.\d+)+/.exec(facts.server)?.[0] ?? "",
    environment: harness.environment.kind,
    provider: harness.environment.provider ?? "",
    node: process.version,
    profile: session.profile,
    seed: session.seed,
    run: session.run,
    startedAt: times.startedAt.toISOString(),
    durationMs: Math.round(times.durationMs),
    totals: { pass: count("pass"), fail: count("fail"), skip: count("skip"), invalid: count("invalid") },
    capabilities: facts.capabilities,
    limits: facts.limits,
    cases,
  };
}

export function writeReport(path: string, report: Report): void {
  writeFileSync(path, `${JSON.stringify(report, null, 2)}\n`);
}

export function readReport(path: string): Report {
  return JSON.parse(readFileSync(path, "utf8")) as Report;
}

/** Whether every case passed or was skipped for a stated reason. */
export function isGreen(report: Report): boolean {
  return report.totals.fail === 0 && report.totals.invalid === 0;
}
