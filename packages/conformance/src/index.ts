export { defineHarness, loadHarness, wrongSecret } from "./harness.ts";
export type {
  Address,
  BrokerControl,
  DriverVariant,
  EnvironmentKind,
  Harness,
  RawClient,
  RawReader,
  RawRecord,
  RawShape,
  Timing,
  Waiver,
} from "./harness.ts";
export type { Case, CaseResult, Facts, Metrics, Profile, SkipReason } from "./case.ts";
export { catalogue, notApplicable } from "./cases/index.ts";
export { runConformance } from "./runner.ts";
export type { RunOptions } from "./runner.ts";
export { openSession } from "./session.ts";
export type { Session, SessionOptions } from "./session.ts";
export { resultLine, summaryLine } from "./progress.ts";
export { isGreen, readReport, writeReport } from "./report.ts";
export type { Report } from "./report.ts";
export { capabilityTable, guaranteeTable, readReports } from "./tables.ts";
export { FaultProxy } from "./proxy.ts";
export type { Direction, Rule } from "./proxy.ts";
