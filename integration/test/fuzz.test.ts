import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { expect, it } from "vitest";

it("100,000 hostile inputs: no crash, no stall above 50 ms, nothing lost", { timeout: 600_000 }, async () => {
  // Another one each time: what fails names it.
  const seed = String(randomInt(1, 1_000_000_000));
  const parameters = ["--conditions=@sluice/source", "integration/fuzz.ts", "--inputs", "100000", "--seed", seed];
  const ended = await new Promise<{ readonly code: unknown; readonly said: string }>((resolve) => {
    execFile(process.execPath, parameters, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      resolve({ code: error ? error.code : 0, said: stdout + stderr });
    });
  });
  expect(ended.said, `seed ${seed}`).toContain("no findings");
  expect(ended.code, `seed ${seed}`).toBe(0);
});
