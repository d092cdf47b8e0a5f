import type { Runtime } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import type { Lane } from "../src/lane.ts";
import { Turns } from "../src/turns.ts";

/** A clock that runs its next timer on demand. */
function clock() {
  let nowMs = 0;
  let next: (() => void) | undefined;
  const runtime = {
    monotonicMs: () => nowMs,
    timer: (_ms: number, run: () => void) => {
      next = run;
      return () => (next = undefined);
    },
  } as unknown as Runtime;
  const ring = async (ms: number) => {
    nowMs += ms;
    next?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { runtime, ring };
}

function turnsOf(depths: Record<string, number>, { window = 1, places = 1 } = {}) {
  const opened: string[] = [];
  const lanes = Object.keys(depths).map((shard) => ({
    spec: { shard },
    idle: true,
    open: async (prefetch: number) => void opened.push(`${shard} ${prefetch}`),
    leave: async () => "lost",
    close: async () => {},
  }));
  const { runtime, ring } = clock();
  const failed = () => {};
  const depth = async (queue: string) => depths[queue] ?? 0;
  const turns = new Turns(lanes as unknown as Lane[], { window, places, runtime, depth, failed });
  return { turns, opened, ring };
}

describe("turns", () => {
  test("with a place for each lane all are open and share the window, at least one record each", async () => {
    const { turns, opened } = turnsOf({ a: 0, b: 0, c: 0 }, { window: 8, places: 3 });
    await turns.start();
    expect(opened).toEqual(["a 3", "b 3", "c 2"]);
    expect(turns.rotating).toBe(false);
    const many = turnsOf({ a: 0, b: 0, c: 0 }, { window: 2, places: 3 });
    await many.turns.start();
    expect(many.opened).toEqual(["a 1", "b 1", "c 1"]);
  });

  test("queues in which nothing waits are passed over", async () => {
    const depths = { a: 0, b: 0, c: 1, d: 0, e: 2 };
    const { turns, opened, ring } = turnsOf(depths);
    await turns.start();
    await ring(200);
    await ring(200);
    expect(opened).toEqual(["c 1", "e 1", "c 1"]);
    turns.end();
  });

  test("while nothing waits anywhere nobody moves", async () => {
    const depths = { a: 0, b: 0, c: 0 };
    const { turns, opened, ring } = turnsOf(depths);
    await turns.start();
    await ring(1_000);
    await ring(1_000);
    expect(opened).toEqual(["a 1"]);
    depths.c = 1;
    await ring(1_000);
    expect(opened).toEqual(["a 1", "c 1"]);
    turns.end();
  });
});
