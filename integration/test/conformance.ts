/** Registers the standard profile for one broker; where the broker cannot be had, every case is skipped and says why. */
import { afterAll } from "vitest";
import { conformance } from "@sluice/conformance/vitest";
import { brokers, type RunningBroker } from "../brokers/index.ts";
import { addPowerless, announce, type HarnessName, harnesses } from "../harnesses/start.ts";

/**
 * The harness module reads the broker's address from the environment, and is loaded when the tests run: announcing the broker
 * here is early enough.
 */
export async function conformanceOf(name: HarnessName, version?: string): Promise<RunningBroker | undefined> {
  const started = await brokers([{ broker: harnesses[name], ...(version !== undefined && { version }) }]);
  process.stdout.write(`${started.table()}\n`);
  const [running] = started.available;
  if (running) {
    announce(running);
    await addPowerless(running);
  }
  afterAll(() => started.stopAll(), 60_000);
  const unavailable = running ? undefined : (started.unavailable[0]?.why ?? "no reason was given");
  conformance(new URL(`../harnesses/${name}.ts`, import.meta.url), {
    profile: "standard",
    title: running ? `${name} ${running.version}, ${running.provider}` : name,
    ...(unavailable !== undefined && { unavailable }),
  });
  return running;
}
