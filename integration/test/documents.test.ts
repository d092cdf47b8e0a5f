import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { documents, extract, type Snippet } from "../../test/support/snippets.ts";
import { type BrokerName, brokerNames, brokers, brokerUrl, type RunningBroker } from "../brokers/index.ts";

const folder = `.snippets/brokers-${process.pid}`;
const all = extract(documents(), folder);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The addresses that documents name, for which the broker of this run stands in. The others are found by the environment. */
const written: Partial<Record<BrokerName, string>> = {
  kafka: "localhost:9092",
  rabbitmq: "amqp://localhost",
  redis: "redis://localhost:6379",
};

describe.for(brokerNames.map((name) => [name] as const))("snippets on %s", ([name]) => {
  const snippets = all.filter(({ broker }) => broker === name);
  let running: RunningBroker | undefined;
  let unavailable = "";
  beforeAll(async () => {
    const started = await brokers([{ broker: name }]);
    [running] = started.available;
    unavailable = started.unavailable[0]?.why ?? "";
    return () => started.stopAll();
  });

  it("there are some", () => {
    expect(snippets.length).toBeGreaterThan(0);
  });

  it.for(snippets)("$name does what it says", async (snippet, { skip }) => {
    if (!running) return skip(unavailable);
    expect(await run(snippet, running)).toEqual({ printed: snippet.prints, stderr: "", ended: true });
  });
});

/** Until it ends, or until it has printed what it must: a consumer stays until it is told to stop. */
async function run({ file, code: text, prints }: Snippet, running: RunningBroker) {
  const address = running.address.kind === "brokers" ? running.address.brokers[0] : brokerUrl(running);
  const place = written[running.broker];
  if (place !== undefined && address !== undefined) writeFileSync(file, text.replaceAll(place, address));
  const child = spawn(process.execPath, ["--conditions=@sluice/source", file], {
    env: { ...process.env, ...running.environmentVariables },
  });
  const said = { stdout: "", stderr: "" };
  const printed = () => said.stdout.split("\n").filter(Boolean).toSorted();
  child.stderr.setEncoding("utf8").on("data", (part: string) => void (said.stderr += part));
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    said.stdout += part;
    if (printed().length >= prints.length) child.kill("SIGTERM");
  });
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { printed: printed(), stderr: said.stderr, ended: code === 0 || signal === "SIGTERM" };
}
