import { connect, type Context, PermanentError, topic } from "@sluice/core";
import { DriverError, type CommitResult, type Receiver } from "@sluice/core/driver";
import { memory, MemoryBroker, simulation } from "@sluice/memory";
import { expect, test } from "vitest";
import { faultyBench } from "./support/faulty-bench.ts";

const inbox = topic("inbox", { groups: ["work"] });
const outbox = topic("outbox", { groups: ["reader"] });
const options = { group: "work", transactional: true, retry: { firstDelay: "10ms" } } as const;

type Commit = NonNullable<Receiver["commit"]>;

test("what a handler publishes is seen when the message is done, and never from a run that failed", async () => {
  const clock = simulation();
  const broker = new MemoryBroker();
  const bus = await connect(memory({ broker }), { runtime: clock.runtime });
  const depths: number[] = [];
  let runs = 0;
  await clock.run(
    bus.subscribe(inbox, options, async (payload, context) => {
      await context.publish(outbox, payload);
      depths.push(broker.depth("outbox", "reader").ready);
      if (++runs === 1) throw new Error("after the publish");
    }),
  );
  await clock.run(bus.publish(outbox, "before"));
  await clock.run(bus.publish(inbox, 1));
  await clock.settle();
  await clock.advance(1000);
  expect(depths).toEqual([1, 1]);
  expect(broker.depth("outbox", "reader").ready).toBe(2);
  await clock.run(bus.close());
  expect(clock.timers).toBe(0);
});

test("dead letters and drops publish nothing of their run", async () => {
  const clock = simulation();
  const broker = new MemoryBroker();
  const bus = await connect(memory({ broker }), { runtime: clock.runtime });
  await clock.run(
    bus.subscribe(inbox, options, async (payload, context) => {
      await context.publish(outbox, payload);
      if (payload === "drop") return context.drop("on purpose");
      throw new PermanentError("never");
    }),
  );
  await clock.run(bus.publish(outbox, "before"));
  await clock.run(bus.publish(inbox, "drop"));
  await clock.run(bus.publish(inbox, "poison"));
  await clock.settle();
  expect(broker.depth("outbox", "reader").ready).toBe(1);
  expect(broker.depth("inbox", "work")).toMatchObject({ ready: 0, inFlight: 0, deadLetters: 1 });
  await clock.run(bus.close());
});

/** A bench whose receivers commit through `commit`, which gets the real one. */
async function committing(commit: (real: Commit, ...rest: Parameters<Commit>) => ReturnType<Commit>) {
  const bench = await faultyBench({ atomic: true });
  const { faulty } = bench;
  const patched = new WeakSet<object>();
  const patch = () => {
    for (const receiver of faulty.receivers) {
      if (patched.has(receiver) || !receiver.commit) continue;
      patched.add(receiver);
      const real = receiver.commit.bind(receiver);
      receiver.commit = (units) => commit(real, units);
    }
  };
  return { ...bench, patch };
}

test("a refused commit is a failed attempt: the message runs again, and ends as a dead letter with the reason", async () => {
  const refusal = new DriverError("FORBIDDEN", "memory: no right to write to outbox");
  const { bus, clock, broker, patch } = await committing((real, units) =>
    units.some(({ send }) => send.some(({ to }) => to.topic === "outbox"))
      ? Promise.resolve(units.map((): CommitResult => refusal))
      : real(units),
  );
  const seen: number[] = [];
  const subscription = await clock.run(
    bus.subscribe(inbox, { ...options, retry: { attempts: 3, firstDelay: "10ms" } }, async (payload, context) => {
      seen.push(context.message.attempt);
      await context.publish(outbox, payload);
    }),
  );
  patch();
  await clock.run(bus.publish(inbox, 1));
  await clock.advance(10_000);
  expect(seen).toEqual([1, 2, 3]);
  expect(subscription.health().counters).toMatchObject({ done: 0, deadLettered: 1 });
  const { letters } = await clock.run(bus.deadLetters(inbox, { group: "work" }).list());
  expect(letters[0]?.errorMessage).toContain("no right to write to outbox");
  expect(broker.depth("inbox", "work").ready).toBe(0);
  await clock.run(bus.close());
});

test("a unit that waits for an older one does not hold up what comes later; a drain tells the driver what will not end", async () => {
  const held: ((result: CommitResult) => void)[] = [];
  const { bus, clock, patch, broker } = await committing(async (real, units) => {
    if (units.some(({ accept }) => new TextDecoder().decode(accept[0]?.body ?? undefined) === '"second"')) {
      const result = await new Promise<CommitResult>((resolve) => held.push(resolve));
      if (result !== "durable") return units.map(() => result);
    }
    return real(units);
  });
  const contexts = new Map<unknown, Context>();
  const subscription = await clock.run(
    bus.subscribe(inbox, options, (payload, context) => {
      contexts.set(payload, context);
    }),
  );
  patch();
  await clock.run(bus.publish(inbox, "second"));
  await clock.run(bus.publish(inbox, "third"));
  await clock.settle();
  expect(contexts.size).toBe(2);
  expect(subscription.health().held).toBe(1);
  const closing = bus.close();
  await clock.settle();
  held[0]?.("lost");
  await clock.run(closing);
  expect(broker.depth("inbox", "work").ready).toBe(1);
  expect(clock.timers).toBe(0);
});

test("a publish that comes after the run has ended is refused, and joins no other run", async () => {
  const clock = simulation();
  const broker = new MemoryBroker();
  const bus = await connect(memory({ broker }), { runtime: clock.runtime });
  let late: Context | undefined;
  await clock.run(bus.subscribe(inbox, options, (_payload, context) => void (late = context)));
  await clock.run(bus.publish(outbox, "before"));
  await clock.run(bus.publish(inbox, 1));
  await clock.settle();
  await expect(late?.publish(outbox, 1)).rejects.toMatchObject({ code: "CLOSED", outcome: "not-stored" });
  expect(broker.depth("outbox", "reader").ready).toBe(1);
  await clock.run(bus.close());
});
