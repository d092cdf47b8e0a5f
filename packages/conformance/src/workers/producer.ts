import { connect, topic } from "@sluice/core";
import { pause } from "../clock.ts";
import { publishOne } from "../flow.ts";
import { type Item, makeItems } from "../payload.ts";
import type { WorkerParts } from "./index.ts";

export interface ProducerPlan {
  readonly topic: string;
  readonly groups: readonly string[];
  readonly ordered: boolean;
  readonly shards: number;
  readonly count: number;
  readonly keys: number;
  readonly concurrency: number;
  /** Skip the ids that an earlier producer saw confirmed. */
  readonly confirmed: readonly string[];
  /** Between two publishes of one lane. */
  readonly pauseMs: number;
}

/** Publishes its items, `concurrency` outstanding, and ends. */
export async function producerWorker({ harness, ledger, run, options, clientName, dead }: WorkerParts): Promise<void> {
  const plan = options as unknown as ProducerPlan;
  const bus = await connect(harness.driver(), { clientName: clientName ?? ledger.process });
  dead?.addEventListener("abort", () => void bus.close(), { once: true });
  const declared = topic<Item>(plan.topic, {
    shards: plan.shards,
    ordering: plan.ordered ? "key" : "none",
    key: (item) => item.key,
    groups: plan.groups,
  });
  const confirmed = new Set(plan.confirmed);
  const items = makeItems(run, plan.count, { keys: plan.keys });
  const queue = items.values();
  ledger.write("ready");
  const lane = async () => {
    for (const item of queue) {
      if (dead?.aborted) return;
      if (confirmed.has(`${item.run}.${item.producer}.${item.key}.${item.n}`)) continue;
      await publishOne(ledger, run, bus, declared, item);
      if (plan.pauseMs > 0) await pause(plan.pauseMs);
    }
  };
  await Promise.all(Array.from({ length: plan.concurrency }, lane));
  await bus.close();
  ledger.write("closed");
}
