import type { Bus } from "@sluice/core";
import { expect, test } from "vitest";
import type { CaseContext, ItemTopic } from "../src/context.ts";
import { caughtUp } from "../src/fault-tools.ts";

/** A broker that tells 0, and a consumer that holds a repeat which it has not begun: how often it was asked until all was still. */
async function looks(held: readonly number[], starts: readonly number[]): Promise<number> {
  let look = -1;
  const at = (values: readonly number[]) => values[Math.min(Math.max(look, 0), values.length - 1)] ?? 0;
  const journal = {
    events: [] as unknown[],
    catchUp() {
      this.events = Array.from({ length: at(starts) }, () => ({ event: "handler-start", topic: "t" }));
    },
    ids: () => new Map(),
    until: async () => {},
  };
  const raw = { depth: async () => (look++, 0) };
  const context = { journal, raw, harness: { timing: { quietMs: 60, recoveryMs: 5_000 } } } as unknown as CaseContext;
  const bus = { health: () => ({ subscriptions: [{ held: at(held) }] }) } as unknown as Bus;
  await caughtUp(context, { name: "t" } as unknown as ItemTopic, [bus]);
  return look;
}

test("a message that is held and waits nowhere is waited for", async () => {
  expect(await looks([1, 1, 0], [0])).toBeGreaterThanOrEqual(3);
});

test("a handler that starts shows that something was on its way", async () => {
  expect(await looks([0], [0, 1, 2])).toBeGreaterThanOrEqual(3);
});
