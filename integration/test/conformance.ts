/** Registers the standard profile for one broker; where the broker cannot be had, every case is skipped and says why. */
import { afterAll } from "vitest";
import { conformance } from "@sluice/conformance/vitest";
import { type BrokerName, brokers } from "../brokers/index.ts";
import { announce } from "../harnesses/start.ts";

/**
 * The harness module reads the broker's address from the environment, and is loaded when the tests run: announcing the broker
 * here is early enough.
 */
export async function conformanceOf(broker: BrokerName, version?: string): Promise<void> {
  const started = await brokers([{ broker, ...(version !== undefined && { version }) }]);
  process.stdout.write(`${started.table()}\n`);
  const [running] = started.available;
  if (running) announce(running);
  afterAll(() => started.stopAll(), 60_000);
  const unavailable = running ? undefined : (started.unavailable[0]?.why ?? "no reason was given");
  conformance(new URL(`../harnesses/${broker}.ts`, import.meta.url), {
    profile: "standard",
    title: running ? `${broker} ${running.version}, ${running.provider}` : broker,
    ...(unavailable !== undefined && { unavailable }),
  });
}
