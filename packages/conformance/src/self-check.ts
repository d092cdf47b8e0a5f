import assert from "node:assert/strict";
import type { Facts } from "./case.ts";
import { poll } from "./clock.ts";
import { CaseContext } from "./context.ts";
import type { Harness, RawClient } from "./harness.ts";
import type { Journal } from "./ledger.ts";
import { declare, put, receiverOf } from "./seam.ts";

/** Three in, three out, for every hook of the raw client: a hook that answers too little would empty its assertions. */
export async function selfCheck(harness: Harness, raw: RawClient, run: string, journal: Journal): Promise<Facts> {
  const open = { id: "SELF", run, sizes: "smoke", harness, url: "", raw, journal, seed: 0 } as const;
  const context = new CaseContext({ ...open, facts: undefined as never }); // Only what follows uses it; needs no facts.
  try {
    const parts = await context.connection();
    const { connection } = parts;
    const { capabilities, limits, server } = connection;
    const [topic, group] = [context.name(), "g"];
    const groupless = capabilities.group === "absent";
    await declare(parts, topic, groupless ? [] : [group]);
    const reader = await raw.consume(topic);
    try {
      await raw.produce(
        topic,
        [1, 2, 3].map((n) => ({ key: `k${n}`, body: Buffer.from(`raw ${n}`) })),
      );
      const seen = await reader.read(3, harness.timing.recoveryMs);
      const bodies = seen.map((record) => Buffer.from(record.body ?? []).toString());
      assert.deepEqual(bodies.sort(), ["raw 1", "raw 2", "raw 3"], "raw.consume read what raw.produce wrote");
    } finally {
      await reader.close();
    }
    if (groupless) return { capabilities, limits, server, lease: undefined };
    await expectThree("raw.depth", harness, () => raw.depth(topic, group));
    await put(connection, { topic, group, deadLetter: true }, ["dead 1", "dead 2", "dead 3"]);
    await expectThree("raw.deadLetters", harness, async () => (await raw.deadLetters(topic, group)).length);
    const receiver = await receiverOf(context, connection, topic, group);
    return { capabilities, limits, server, lease: receiver.lease };
  } finally {
    const problems = await context.close();
    assert.deepEqual(problems, [], "closing after the self-check");
  }
}

async function expectThree(what: string, harness: Harness, ask: () => Promise<number>): Promise<void> {
  let last = -1;
  await poll(
    harness.timing.recoveryMs,
    () => `${what} answers 3 (it answers ${last})`,
    async () => {
      last = await ask();
      return last === 3 ? true : undefined;
    },
  );
}
