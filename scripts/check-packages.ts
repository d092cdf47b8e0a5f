// What a user would install: the packed packages, and the public types of core. Needs a build.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";

const steps: readonly (readonly string[])[] = [
  ["node", "scripts/api-reports.ts"],
  ...readdirSync("packages").flatMap((name) => [
    ["npm", "run", "-s", "publint", `packages/${name}`],
    ["npm", "run", "-s", "attw", `packages/${name}`],
  ]),
];

let failed = 0;
for (const [command = "", ...rest] of steps) {
  const { status, stdout, stderr } = spawnSync(command, rest, { encoding: "utf8" });
  console.log(`${status === 0 ? "ok    " : "FAILED"} ${command} ${rest.join(" ")}`);
  if (status === 0) continue;
  failed += 1;
  console.log(`${stdout}${stderr}`.trimEnd());
}

console.log(`${steps.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
