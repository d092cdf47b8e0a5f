// One order over every broker that this machine can have, one after the other: one trace from the request to the last group.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import { brokerNames, brokers, brokerUrl } from "../brokers/index.ts";

const run = promisify(execFile);
const folder = new URL("../../examples/observed-service/", import.meta.url);
const main = fileURLToPath(new URL("main.ts", folder));
const expected = readFileSync(new URL("expected.txt", folder), "utf8");

let started: Awaited<ReturnType<typeof brokers>> | undefined;
afterAll(() => started?.stopAll(), 60_000);

/** What the spans of each broker say that it is. */
const systems: Readonly<Record<string, string>> = {
  "sqs-sns": "aws.sqs",
  "google-pubsub": "gcp.pubsub",
};

test("one trace over memory and every broker", { timeout: 400_000 }, async ({ skip }) => {
  started = await brokers(brokerNames.map((broker) => ({ broker })));
  process.stdout.write(`${started.table()}\n`);
  const { available, unavailable } = started;
  const missing = unavailable.map(({ request, why }) => `${request.broker}: ${why}`).join("; ");
  if (available.length === 0) skip(`no broker at all: ${missing}`);
  const variables = available.map(({ environmentVariables }) => environmentVariables);
  const urls = ["memory://observed", ...available.map(brokerUrl)];
  const env = Object.assign({}, process.env, ...variables, { BROKER_URLS: urls.join(" ") }) as NodeJS.ProcessEnv;
  const { stdout, stderr } = await run(process.execPath, ["--conditions=@sluice/source", main], {
    env,
    timeout: 120_000,
  });
  process.stdout.write(stderr);
  expect(stdout).toBe(expected);
  for (const { broker } of available) expect(stderr).toContain(` ${systems[broker] ?? broker},`);
  // Passed means every broker.
  if (unavailable.length > 0) skip(`held, but without ${missing}`);
});
