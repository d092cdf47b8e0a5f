import { randomUUID } from "node:crypto";
import { simulation } from "@sluice/memory";
import type { Cluster, Redis } from "ioredis";
import { describe, expect, expectTypeOf, it } from "vitest";
import { memoryStore, type RedisLike, redisStore } from "../src/index.ts";
import { storeCases } from "../src/stores/cases.ts";

describe("memoryStore", () => {
  it.for(storeCases)("$name", async ({ run }) => {
    const clock = simulation();
    const store = memoryStore({ runtime: clock.runtime });
    const harness = { store, wait: (ms: number) => clock.advance(ms), newKey: randomUUID };
    await expect(run(harness)).resolves.toBeUndefined();
  });

  it("forgets the oldest completed key when it has too many, and never a lock", async () => {
    const store = memoryStore({ most: 2 });
    await store.acquire("lock", "a", 60_000);
    for (const key of ["one", "two", "three"]) {
      await store.acquire(key, "a", 60_000);
      await store.complete(key, "a", 60_000);
    }
    expect(store).toMatchObject({ size: 2, evicted: 1 });
    expect(await store.acquire("one", "b", 60_000)).toEqual({ state: "acquired" });
    expect(await store.acquire("two", "b", 60_000)).toEqual({ state: "completed" });
    expect(await store.acquire("lock", "b", 60_000)).toMatchObject({ state: "locked" });
  });

  it("keeps no expired keys", async () => {
    const clock = simulation();
    const store = memoryStore({ runtime: clock.runtime });
    for (let n = 0; n < 1000; n++) {
      await store.acquire(`key-${n}`, "a", 10);
      await store.complete(`key-${n}`, "a", 10);
      await clock.advance(1);
    }
    expect(store).toMatchObject({ size: 10, evicted: 0 });
  });

  it("refuses an illegal bound", () => {
    expect(() => memoryStore({ most: 0 })).toThrow("most is 0");
  });
});

describe("redisStore", () => {
  it("touches one key per script, under its prefix", async () => {
    const calls: unknown[][] = [];
    const answers: unknown[] = [["locked", 70], 1, 0, 0];
    const client = {
      eval: async (_script: string, ...rest: unknown[]) => (calls.push(rest), answers.shift()),
    };
    const store = redisStore(client, { prefix: "app:" });
    expect(await store.acquire("k", "a", 10.2)).toEqual({ state: "locked", forMs: 70 });
    expect(await store.renew("k", "a", 10)).toBe(true);
    expect(await store.complete("k", "a", 10)).toBe(false);
    await store.release("k", "a");
    expect(calls).toEqual([
      [1, "app:k", "lock:a", 11],
      [1, "app:k", "lock:a", 10],
      [1, "app:k", "lock:a", 10],
      [1, "app:k", "lock:a"],
    ]);
  });

  it("takes what ioredis makes", () => {
    expectTypeOf<Redis>().toExtend<RedisLike>();
    expectTypeOf<Cluster>().toExtend<RedisLike>();
  });

  it("says when the client is none like ioredis", async () => {
    const store = redisStore({ eval: async () => "acquired" });
    await expect(store.acquire("k", "a", 10)).rejects.toThrow("give one that answers as ioredis does");
  });
});
