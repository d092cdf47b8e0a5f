import { events, type SettledEvent } from "@sluice/core";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Act, type Step, World } from "./support/world.ts";

const acts: readonly Act[] = [
  "done",
  "throw",
  "throw undefined",
  "permanent",
  "unavailable",
  "retry",
  "retry later",
  "defer",
  "dead-letter",
  "drop",
  "unused",
  "long",
  "too long",
  "listens",
];

const seldom = fc.oneof(
  { weight: 2, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.double({ min: 0, max: 0.5, noNaN: true }) },
);

const publish = fc.record({
  kind: fc.constant("publish" as const),
  keyed: fc.boolean(),
  key: fc.constantFrom("a", "b", "c"),
  count: fc.integer({ min: 1, max: 4 }),
  acts: fc.array(fc.constantFrom(...acts), { maxLength: 6 }),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: publish },
  {
    weight: 12,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.oneof(fc.nat(60), fc.nat(1000), fc.nat(8000)) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("faults" as const),
      faults: fc.record({
        connect: seldom,
        provision: seldom,
        open: seldom,
        send: seldom,
        settle: seldom,
        extend: seldom,
        commit: seldom,
        slow: seldom,
      }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom<Step>(
      { kind: "kill" },
      { kind: "revoke" },
      { kind: "cut" },
      { kind: "pause" },
      { kind: "resume" },
      { kind: "join" },
      { kind: "leave" },
    ),
  },
);

test(
  "whatever fails, whenever it fails: nothing is lost, stuck, reordered or left behind",
  { timeout: 60_000 },
  async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => void unhandled.push(error);
    process.on("unhandledRejection", note);
    const schedule = fc.record({
      seed: fc.nat(),
      atomic: fc.boolean(),
      abrupt: fc.boolean(),
      steps: fc.array(step, { maxLength: 60, size: "max" }),
    });
    try {
      await fc.assert(
        fc.asyncProperty(schedule, async ({ seed, atomic, abrupt, steps }) => {
          await run(new World(seed, atomic), steps, abrupt);
          expect(unhandled).toEqual([]);
        }),
        { numRuns: Number(process.env["CHAOS_RUNS"] ?? 60), endOnFailure: false },
      );
    } finally {
      process.off("unhandledRejection", note);
    }
  },
);

async function run(world: World, steps: readonly Step[], abrupt: boolean): Promise<void> {
  const watch = (event: unknown) => {
    const { fate } = event as SettledEvent;
    if (fate === "lost" || fate === "returned") disturbed = true;
  };
  let disturbed = steps.some(
    ({ kind }) => kind === "faults" || kind === "kill" || kind === "revoke" || kind === "cut" || kind === "leave",
  );
  subscribe(events.settled.name, watch);
  try {
    await world.clock.run(world.join());
    for (const one of steps) await world.step(one);
    if (abrupt) await world.close();
    await world.heal();
    await world.close();
  } finally {
    unsubscribe(events.settled.name, watch);
  }
  expect(world.wrong).toEqual([]);
  expect(world.faulty.wrong).toEqual([]);
  checkFates(world, !disturbed);
  if (!disturbed) checkOrder(world);
}

/** Each confirmed message was handled, dropped on purpose, or is a dead letter: for every group of its topic. */
function checkFates(world: World, exactly: boolean): void {
  for (const [name, group, ordered] of [
    ["plain", "work", false],
    ["plain", "audit", false],
    ["keyed", "work", true],
  ] as const) {
    const dead = new Set(world.broker.deadLetters(name, group).map(({ id }) => id));
    for (const { id, keyed } of world.confirmed) {
      if (keyed !== ordered) continue;
      const finished = world.finished.has(`${name}/${group}/${id}`);
      if (!finished && !dead.has(id)) expect.fail(`${id} vanished from ${name}/${group}`);
      if (exactly && finished && dead.has(id)) expect.fail(`${id} has two fates in ${name}/${group}`);
    }
  }
}

function checkOrder(world: World): void {
  for (const order of world.order.values()) expect(order).toEqual(order.toSorted((left, right) => left - right));
}
