import { type Runtime, emptyHeaders } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import type { CommitPosition } from "../src/client.ts";
import { CommitLoop } from "../src/commits.ts";
import { Shard } from "../src/shard.ts";

const place = {
  id: "orders/0",
  source: { topic: "orders", group: "billing", start: "earliest" } as const,
  topic: "orders",
  partition: 0,
  until: Number.POSITIVE_INFINITY,
};

/** A loop over one partition of 100 read records, a broker that answers when told to, and a clock that is moved by hand. */
function rig(window: number) {
  const shard = new Shard(
    place,
    { position: 0, starts: [], finished: [], epoch: 1, born: 0 },
    { window, counted: true, load: { bytes: 0 } },
  );
  shard.ready = true;
  for (let offset = 0; offset < 100; offset += 1) {
    shard.add({ offset: String(offset), timestamp: "0", key: null, value: null, headers: emptyHeaders() }, 0);
  }
  const sent: CommitPosition[] = [];
  const answers: PromiseWithResolvers<void>[] = [];
  const timers = new Set<() => void>();
  const failures: unknown[] = [];
  const runtime: Pick<Runtime, "timer"> = {
    timer(_ms, run) {
      timers.add(run);
      return () => timers.delete(run);
    },
  };
  const loop = new CommitLoop(
    {
      clean: false,
      shards: () => [shard],
      commit(positions) {
        sent.push(...positions);
        const answer = Promise.withResolvers<void>();
        answers.push(answer);
        return answer.promise;
      },
      stored: () => {},
      failed: (error) => failures.push(error),
    },
    runtime as Runtime,
  );
  /** Lets everything run that needs no answer. */
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const answer = async (): Promise<void> => {
    answers.shift()?.resolve();
    await settle();
  };
  const finish = (count: number): void => {
    for (let done = 0; done < count; done += 1) {
      const delivery = shard.take(0);
      if (delivery && shard.accept(delivery)) loop.accepted(shard);
    }
  };
  return { shard, loop, sent, answers, timers, failures, settle, answer, finish };
}

describe("CommitLoop", () => {
  test("commits when a partition has finished a quarter of its window, or after a second", async () => {
    const { loop, sent, timers, settle, answer, finish } = rig(20);
    loop.request();
    await settle();
    await answer();
    finish(4);
    await settle();
    expect(sent.map(({ offset }) => offset)).toEqual([0]);
    expect(timers.size).toBe(1);
    finish(1);
    await settle();
    expect(sent.at(-1)?.offset).toBe(5);
    expect(timers.size).toBe(0);
    await answer();
    finish(1);
    for (const timer of timers) timer();
    await settle();
    expect(sent.at(-1)?.offset).toBe(6);
  });

  test("has one request under way, and callers meanwhile share the next", async () => {
    const { loop, sent, answers, settle, answer, finish } = rig(100);
    const first = loop.run();
    await settle();
    const both = Promise.all([loop.run(), loop.run()]);
    await settle();
    expect(answers).toHaveLength(1);
    await answer();
    await first;
    finish(3);
    const last = loop.run();
    await answer();
    await settle();
    await answer();
    await Promise.all([both, last]);
    expect(sent.at(-1)?.offset).toBe(3);
    expect(answers).toHaveLength(0);
  });

  test("a failed commit is told, and what it said is said again", async () => {
    const { loop, sent, answers, failures, settle, answer, shard } = rig(100);
    loop.request();
    await settle();
    answers.shift()?.reject(new Error("no"));
    await settle();
    expect(failures).toHaveLength(1);
    expect(shard.take(0)).toBeUndefined();
    loop.request();
    await settle();
    await answer();
    expect(sent).toHaveLength(2);
    expect(shard.take(0)).toBeDefined();
  });
});
