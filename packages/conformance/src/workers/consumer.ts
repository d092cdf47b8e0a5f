import { connect, topic } from "@sluice/core";
import { pause } from "../clock.ts";
import { quickRetry, recording } from "../flow.ts";
import { idOf, type Item } from "../payload.ts";
import { seededRandom } from "../context.ts";
import type { WorkerParts } from "./index.ts";

export interface ConsumerPlan {
  readonly topic: string;
  readonly group: string;
  readonly ordered: boolean;
  readonly shards: number;
  readonly concurrency: number;
  readonly window: number;
  readonly attempts: number;
  /** Least and most milliseconds of a handler. */
  readonly handlerMs: readonly [number, number];
  /** This share of the messages fails in its first attempt. */
  readonly failOnce: number;
  /** The message that kills the process that handles it. */
  readonly poison: string | undefined;
}

/** Consumes until it is asked to stop, or killed. */
export async function consumerWorker(parts: WorkerParts): Promise<void> {
  const { harness, ledger, run, stopped } = parts;
  const plan = parts.options as unknown as ConsumerPlan;
  const note = (fields: object, message: string) =>
    ledger.write("note", { detail: `${message} ${JSON.stringify(fields)}` });
  const logger = { debug: () => {}, info: () => {}, warn: note, error: note };
  const bus = await connect(harness.driver(), { clientName: parts.clientName ?? ledger.process, logger });
  const declared = topic<Item>(plan.topic, {
    shards: plan.shards,
    ordering: plan.ordered ? "key" : "none",
    key: (item) => item.key,
    groups: [plan.group],
  });
  const die = parts.die ?? (() => process.abort());
  const handler = recording(ledger, plan.topic, plan.group, run, async (item, { message }) => {
    if (idOf(item) === plan.poison) {
      die();
      await new Promise<void>(() => {}); // A dead process answers nothing.
    }
    const random = seededRandom(`${idOf(item)} ${message.attempt}`);
    const [least, most] = plan.handlerMs;
    await pause(least + random() * (most - least));
    if (message.attempt === 1 && seededRandom(`${idOf(item)} fails`)() < plan.failOnce) throw new Error("fails once");
  });
  const options = {
    group: plan.group,
    concurrency: plan.concurrency,
    window: plan.window,
    retry: { ...quickRetry, attempts: plan.attempts },
  };
  await bus.subscribe(declared, options, handler);
  ledger.write("ready");
  await stopped;
  // Who died in this process finishes nothing.
  await bus.drain({ deadline: parts.dead?.aborted ? 0 : 5_000 });
  await bus.close();
  ledger.write("closed");
}
