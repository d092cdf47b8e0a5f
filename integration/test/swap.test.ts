// The same service on every broker that this machine can have: an observer sees the same.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { type BrokerName, brokerNames, brokers, brokerUrl } from "../brokers/index.ts";

const run = promisify(execFile);
const folder = new URL("../../examples/swap-the-broker/", import.meta.url);
const main = fileURLToPath(new URL("main.ts", folder));
const expected = readFileSync(new URL("expected.txt", folder), "utf8");

async function observe(url: string): Promise<string> {
  const env = { ...process.env, BROKER_URL: url };
  const { stdout } = await run(process.execPath, ["--conditions=@sluice/source", main], { env, timeout: 100_000 });
  return stdout;
}

test("memory", async () => {
  expect(await observe("memory://swap")).toBe(expected);
});

describe.each(brokerNames)("%s", (broker: BrokerName) => {
  let started: Awaited<ReturnType<typeof brokers>> | undefined;
  afterAll(() => started?.stopAll(), 60_000);

  test("shows the same as memory", { timeout: 300_000 }, async ({ skip }) => {
    started = await brokers([{ broker }]);
    const running = started.available[0] ?? skip(started.unavailable[0]?.why);
    expect(await observe(brokerUrl(running))).toBe(expected);
  });
});
