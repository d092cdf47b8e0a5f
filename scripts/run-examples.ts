// Runs every example on the memory broker. One with an expected.txt must print exactly that.
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname } from "node:path";

let failed = 0;
const examples = globSync("examples/*/main.ts").toSorted();
for (const main of examples) {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ["--conditions=@sluice/source", main], {
    encoding: "utf8",
    timeout: 60_000,
  });
  const expected = `${dirname(main)}/expected.txt`;
  const differs = existsSync(expected) && readFileSync(expected, "utf8") !== stdout;
  const ok = status === 0 && !differs;
  console.log(`${ok ? "ok    " : "FAILED"} ${main}`);
  if (ok) continue;
  failed += 1;
  if (differs) console.log(`differs from ${expected}:`);
  console.log(`${stdout}${stderr}${signal === null ? "" : `ended by ${signal} after 60 s`}`.trimEnd());
}

console.log(`${examples.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
