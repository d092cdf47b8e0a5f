// Everything that can be said about the sources without running them. All steps run, also after a failure.
import { spawnSync } from "node:child_process";

const steps: readonly (readonly [name: string, ...command: string[]])[] = [
  ["format", "oxfmt", "--check"],
  ["lint", "oxlint", "--deny-warnings"],
  ["types", "tsc", "-p", "."],
  ["unused", "knip"],
  ["layout", "node", "scripts/check-layout.ts"],
  ["sources", "node", "scripts/check-sources.ts"],
  ["docs", "node", "--conditions=@sluice/source", "scripts/docs.ts", "--check"],
];

let failed = 0;
for (const [name, command = "", ...rest] of steps) {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(command, rest, { encoding: "utf8", maxBuffer: 64 * 2 ** 20 });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? "ok    " : "FAILED"} ${name.padEnd(8)} ${seconds} s`);
  if (status === 0) continue;
  failed += 1;
  console.log(`${stdout}${stderr}`.trimEnd());
}

console.log(`${steps.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
