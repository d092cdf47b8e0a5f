// Runs every example on memory and on the brokers that it is about, where they can be had here; `--broker memory` leaves the
// others out. One with an expected.txt must print exactly that, on each of them.
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import type { BrokerName } from "../integration/brokers/index.ts";

const { values } = parseArgs({ options: { broker: { type: "string", multiple: true } } });
const wanted = (broker: string): boolean => values.broker?.includes(broker) ?? true;

const examples = globSync("examples/*/main.ts").toSorted();
const results = { passed: 0, failed: 0, absent: 0 };

function brokersOf(main: string): readonly string[] {
  const manifest = JSON.parse(readFileSync(`${dirname(main)}/package.json`, "utf8")) as {
    readonly sluice?: { readonly brokers: readonly string[] };
  };
  return manifest.sluice?.brokers ?? ["memory"];
}

function runExample(main: string, broker: string, environment: Readonly<Record<string, string>>): void {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ["--conditions=@sluice/source", main], {
    encoding: "utf8",
    timeout: 120_000,
    env: { ...process.env, ...environment },
  });
  const expected = `${dirname(main)}/expected.txt`;
  const differs = existsSync(expected) && readFileSync(expected, "utf8") !== stdout;
  const ok = status === 0 && !differs;
  console.log(`${ok ? "ok    " : "FAILED"} ${main} on ${broker}`);
  results[ok ? "passed" : "failed"] += 1;
  if (ok) return;
  if (differs) console.log(`differs from ${expected}:`);
  console.log(`${stdout}${stderr}${signal === null ? "" : `ended by ${signal} after 120 s`}`.trimEnd());
}

if (wanted("memory")) for (const main of examples) runExample(main, "memory", {});
const others = [...new Set(examples.flatMap(brokersOf))].filter((broker) => broker !== "memory" && wanted(broker));
for (const broker of others) {
  const { brokers, brokerUrl } = await import("../integration/brokers/index.ts");
  const started = await brokers([{ broker: broker as BrokerName }]);
  const [running] = started.available;
  const about = examples.filter((main) => brokersOf(main).includes(broker));
  try {
    if (running) {
      const environment = { ...running.environmentVariables, BROKER_URL: brokerUrl(running) };
      for (const main of about) runExample(main, broker, environment);
    } else {
      results.absent += about.length;
      console.log(`absent ${broker}: ${started.unavailable[0]?.why}`);
    }
  } finally {
    await started.stopAll();
  }
}

console.log(`${results.passed} passed, ${results.failed} failed, ${results.absent} without their broker`);
process.exit(results.failed === 0 ? 0 : 1);
