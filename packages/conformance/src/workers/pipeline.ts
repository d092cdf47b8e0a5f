import { connect, topic } from "@sluice/core";
import { pause } from "../clock.ts";
import { quickRetry, recording } from "../flow.ts";
import { idOf, type Item, runHeader } from "../payload.ts";
import type { WorkerParts } from "./index.ts";

export interface PipelinePlan {
  readonly input: string;
  readonly output: string;
  readonly group: string;
  /** Of the output. */
  readonly reader: string;
  readonly concurrency: number;
  readonly window: number;
  readonly shards: number;
  /** Between the publish and the end of the handler. */
  readonly handlerMs: number;
}

/** Sends every message on, in one transaction with its acceptance, until it is asked to stop, or killed. */
export async function pipelineWorker(parts: WorkerParts): Promise<void> {
  const { harness, ledger, run, stopped } = parts;
  const plan = parts.options as unknown as PipelinePlan;
  const bus = await connect(harness.driver(), { clientName: parts.clientName ?? ledger.process });
  const declare = (name: string, group: string) =>
    topic<Item>(name, { shards: plan.shards, ordering: "none", key: (item) => item.key, groups: [group] });
  const output = declare(plan.output, plan.reader);
  const handler = recording(ledger, plan.input, plan.group, run, async (item, context) => {
    await context.publish(output, item, { id: idOf(item), headers: { [runHeader]: run } });
    await pause(plan.handlerMs);
  });
  const { group, concurrency, window } = plan;
  const options = { group, concurrency, window, transactional: true, retry: quickRetry };
  await bus.subscribe(declare(plan.input, group), options, handler);
  ledger.write("ready");
  await stopped;
  await bus.drain({ deadline: parts.dead?.aborted ? 0 : 5_000 });
  await bus.close();
  ledger.write("closed");
}
