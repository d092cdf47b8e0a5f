/** Registers the standard profile for one broker, or one skipped test that says why the broker cannot be had. */
import { afterAll, test } from "vitest";
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
  if (!running) {
    const why = started.unavailable[0]?.why ?? "no reason was given";
    test(`${broker} ${version ?? ""}`, ({ skip }) => skip(`unavailable: ${why}`));
    return;
  }
  announce(running);
  afterAll(() => started.stopAll(), 60_000);
  const url = new URL(`../harnesses/${broker}.ts`, import.meta.url);
  conformance(url, { profile: "standard", title: `${broker} ${running.version}, ${running.provider}` });
}
