import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const command = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
const harness = fileURLToPath(new URL("../../../integration/harnesses/memory.ts", import.meta.url));

/** Runs the command; resolves to its exit code and what it printed. */
function run(...rest: readonly string[]): Promise<{ readonly code: unknown; readonly printed: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ["--conditions=@sluice/source", command, ...rest], (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, printed: stdout + stderr }),
    );
  });
}

test.concurrent("runs the named cases of a harness, and says how it went", async () => {
  const { code, printed } = await run(harness, "--case", "DL-01", "--case", "G-27");
  expect(printed).toMatch(/ ok {3}DL-01 /);
  expect(printed).toMatch(/ skip G-27 .*\n +environment: /);
  expect(printed).toMatch(/profile standard: 1 passed, 0 failed, 1 skipped, 0 invalid/);
  expect(code).toBe(0);
});

test.concurrent("wrong usage is said with the help, and has an exit code of its own", async () => {
  const { code, printed } = await run("--profile", "all", harness);
  expect(printed).toMatch(/--profile is "all"; give one of smoke, standard, fault\n\nUsage:/);
  expect(code).toBe(2);
});
