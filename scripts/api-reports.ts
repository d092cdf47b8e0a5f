// Compares the public types of core's two doors with the committed reports; `--local` rewrites the reports.
import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { Extractor, ExtractorConfig, ExtractorLogLevel } from "@microsoft/api-extractor";

const folder = resolve("packages/core");
const doors = [
  { report: "core", types: "dist/index.d.ts" },
  { report: "driver", types: "dist/driver/index.d.ts" },
];
mkdirSync(`${folder}/api`, { recursive: true });

let failed = 0;
for (const { report, types } of doors) {
  const config = ExtractorConfig.prepare({
    configObjectFullPath: undefined,
    packageJsonFullPath: `${folder}/package.json`,
    configObject: {
      projectFolder: folder,
      mainEntryPointFilePath: `${folder}/${types}`,
      newlineKind: "lf",
      compiler: {
        overrideTsconfig: {
          compilerOptions: { target: "es2023", module: "nodenext", strict: true, types: ["node"], skipLibCheck: true },
          files: [types],
        },
      },
      apiReport: {
        enabled: true,
        reportFileName: `${report}.api.md`,
        reportFolder: `${folder}/api`,
        reportTempFolder: `${folder}/temp`,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        extractorMessageReporting: {
          default: { logLevel: ExtractorLogLevel.Warning },
          // One release tag for all: what is exported is public.
          // What needs words is decided in review.
          "ae-undocumented": { logLevel: ExtractorLogLevel.None },
          "ae-missing-release-tag": { logLevel: ExtractorLogLevel.None },
          "ae-forgotten-export": { logLevel: ExtractorLogLevel.Warning, addToApiReportFile: true },
        },
        // The comments are for people and editors, not for a TSDoc parser.
        tsdocMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
      },
    },
  });
  const result = Extractor.invoke(config, {
    localBuild: process.argv.includes("--local"),
    messageCallback: (message) => {
      if (message.messageId === "console-preamble" || message.messageId === "console-compiler-version-notice") {
        message.logLevel = ExtractorLogLevel.None;
      }
    },
  });
  if (result.succeeded) continue;
  failed += 1;
  if (result.apiReportChanged)
    console.error(`${report}.api.md is out of date: run npm run api and review the difference`);
}
process.exitCode = failed === 0 ? 0 : 1;
