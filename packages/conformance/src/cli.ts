#!/usr/bin/env node
/** `sluice-conformance HARNESS`: the kit without a test runner. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import type { Profile } from "./case.ts";
import { describe } from "./flow.ts";
import { resultLine, summaryLine } from "./progress.ts";
import { isGreen, writeReport } from "./report.ts";
import { runConformance } from "./runner.ts";

const help = `Usage: sluice-conformance HARNESS [options]

  HARNESS            module whose default export is defineHarness({ … })
  --profile NAME     smoke, standard or fault                        (default: standard)
  --json FILE        write the report
  --case ID          only this case; may be repeated
  --repeat N         run everything N times                          (default: 1)
  --seed N           repeat the random choices of an earlier run
  --ledgers FOLDER   keep the ledgers of every case
  --help             this text

Exit codes: 0 every case passed or was skipped for a stated reason, 1 a case failed or was invalid, 2 wrong usage.
`;

const profiles: readonly string[] = ["smoke", "standard", "fault"];
const options = {
  profile: { type: "string", default: "standard" },
  json: { type: "string" },
  case: { type: "string", multiple: true },
  repeat: { type: "string" },
  seed: { type: "string" },
  ledgers: { type: "string" },
  help: { type: "boolean", default: false },
} as const;

/** Wrong usage: said with the help, and exit code 2. */
class UsageError extends Error {
  override readonly name = "UsageError";
}

function wholeNumber(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new UsageError(`--${name} is "${value}"; give a whole number, 1 or more`);
}

function readArguments() {
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    return { ...values, harness: positionals[0], more: positionals.length > 1 };
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

async function main(): Promise<number> {
  const { harness, more, profile, json, case: cases, ledgers, ...values } = readArguments();
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (harness === undefined || more) throw new UsageError("give the path of one harness module");
  if (!profiles.includes(profile))
    throw new UsageError(`--profile is "${profile}"; give one of ${profiles.join(", ")}`);
  const repeat = wholeNumber("repeat", values.repeat);
  const seed = wholeNumber("seed", values.seed);
  const report = await runConformance(pathToFileURL(resolve(harness)), {
    profile: profile as Profile,
    ...(cases && { cases }),
    ...(repeat !== undefined && { repeat }),
    ...(seed !== undefined && { seed }),
    ...(ledgers !== undefined && { directory: ledgers }),
    onResult(result, done, all) {
      const line = resultLine(result, done, all);
      if (line !== undefined) process.stdout.write(`${line}\n`);
    },
  });
  if (json !== undefined) writeReport(json, report);
  process.stdout.write(`${summaryLine(report)}\n`);
  return isGreen(report) ? 0 : 1;
}

// A case that failed may have left something behind that would keep this process alive.
process.exit(
  await main().catch((error: unknown) => {
    const usage = error instanceof UsageError;
    process.stderr.write(`sluice-conformance: ${usage ? `${error.message}\n\n${help}` : `${describe(error)}\n`}`);
    return usage ? 2 : 1;
  }),
);
