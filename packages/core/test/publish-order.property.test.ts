import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SendItem, SendResult } from "../src/driver/index.ts";
import { bench, type FakeCall, refusal, stored } from "./publish-support.ts";

const result = fc.oneof(
  { weight: 5, arbitrary: fc.constant<"stored">("stored") },
  { weight: 2, arbitrary: fc.constantFrom("not-stored" as const, "unknown" as const) },
  { weight: 1, arbitrary: fc.constantFrom("refused" as const, "fatal" as const) },
);

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("put" as const),
      key: fc.constantFrom("a", "b", undefined),
      topic: fc.constantFrom("one", "two"),
      ms: fc.constantFrom(50, 400, 60_000),
      abort: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("answer" as const), call: fc.nat(5), results: fc.array(result) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(0, 1, 60, 500) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("abort" as const) }) },
);

const shape = fc.record({
  steps: fc.array(step, { maxLength: 60, size: "max" }),
  ordered: fc.boolean(),
  sendsInFlight: fc.integer({ min: 1, max: 3 }),
  items: fc.integer({ min: 1, max: 5 }),
  perKey: fc.constantFrom(1, 2, Number.POSITIVE_INFINITY),
  scope: fc.constantFrom("connection" as const, "destination" as const),
  messages: fc.constantFrom(3, 100),
  seed: fc.nat(1000),
});

/** The broker: keeps what it stored, and the promise of `sendOrder` that nothing later of a failed key is stored. */
class Model {
  readonly stored: { lane: string | undefined; sequence: number; id: string }[] = [];
  readonly #lanes: ReadonlyMap<string, string | undefined>;
  readonly #sequences: ReadonlyMap<string, number>;

  constructor(lanes: ReadonlyMap<string, string | undefined>, sequences: ReadonlyMap<string, number>) {
    this.#lanes = lanes;
    this.#sequences = sequences;
  }

  lane(item: SendItem): string | undefined {
    return this.#lanes.get(item.record.id);
  }

  /** `open`: calls that are still unanswered; an ordered broker stores nothing behind a failure in an earlier one. */
  answer(call: FakeCall, wanted: readonly string[], broken: Set<string>): SendResult[] {
    return call.items.map((item, index) => {
      const lane = this.lane(item);
      const outcome = wanted[index % Math.max(1, wanted.length)] ?? "stored";
      if (lane !== undefined && broken.has(lane)) return refusal();
      if (outcome === "stored") {
        this.store(item);
        return stored;
      }
      if (lane !== undefined) broken.add(lane);
      if (outcome === "fatal") return refusal("not-stored", "INVALID_MESSAGE");
      if (outcome === "refused") return refusal("not-stored", "REFUSED");
      if (outcome === "not-stored") return refusal();
      this.store(item);
      return refusal("unknown");
    });
  }

  store(item: SendItem): void {
    const { id } = item.record;
    this.stored.push({ lane: this.lane(item), sequence: this.#sequences.get(id) ?? -1, id });
  }
}

/** First copies of a lane come in order: a later one is never stored before an earlier one that is stored at all. */
function expectOrder(model: Model): void {
  const first = new Map<string, number>();
  const seen = new Set<string>();
  for (const { lane, sequence, id } of model.stored) {
    if (lane === undefined || seen.has(id)) continue;
    seen.add(id);
    expect(sequence).toBeGreaterThan(first.get(lane) ?? -1);
    first.set(lane, sequence);
  }
}

describe("whatever the broker answers", () => {
  test("no key is reordered, every item settles exactly once, and outcomes do not lie", async () => {
    await fc.assert(
      fc.asyncProperty(shape, async (run) => {
        const lanes = new Map<string, string | undefined>();
        const sequences = new Map<string, number>();
        const model = new Model(lanes, sequences);
        const { clock, put, sender, settled, queue } = bench({
          seed: run.seed,
          buffer: { messages: run.messages },
          capabilities: { sendOrder: run.ordered ? "ordered" : "per-call" },
          limits: {
            sendsInFlight: run.sendsInFlight,
            batch: { items: run.items, perKey: run.ordered ? run.perKey : 1, scope: run.scope },
          },
        });
        const open: FakeCall[] = [];
        let known = 0;
        let next = 0;
        const collect = () => {
          for (; known < sender.calls.length; known++) {
            const call = sender.calls[known];
            if (call) open.push(call);
          }
          const outstanding = open.flatMap((call) => call.items).map((item) => model.lane(item));
          const keyed = outstanding.filter((lane) => lane !== undefined);
          // One of a key outstanding, unless the driver keeps the order itself.
          expect(run.ordered || new Set(keyed).size === keyed.length).toBe(true);
        };
        // An ordered broker takes calls in their order, so that a failure in one breaks the key in all that are behind it.
        const answer = (index: number, results: readonly string[]) => {
          const at = run.ordered ? 0 : index % Math.max(1, open.length);
          const [call] = open.splice(at, 1);
          if (!call) return;
          const broken = new Set<string>();
          call.answer(...model.answer(call, results, broken));
          if (!run.ordered) return;
          for (const behind of open.splice(0)) behind.answer(...model.answer(behind, ["stored"], broken));
        };
        const controller = new AbortController();
        for (const each of run.steps) {
          if (each.kind === "put") {
            const id = `m${next}`;
            lanes.set(id, each.key === undefined ? undefined : `${each.topic} ${each.key}`);
            sequences.set(id, next++);
            put(id, {
              topic: each.topic,
              ms: each.ms,
              ...(each.key === undefined ? {} : { key: each.key }),
              ...(each.abort ? { signal: controller.signal } : {}),
            });
          } else if (each.kind === "answer") answer(each.call, each.results);
          else if (each.kind === "wait") await clock.advance(each.ms);
          else controller.abort();
          await clock.settle();
          collect();
        }
        // From here on the broker is well: everything settles soon, long before the longest deadline.
        sender.script = (item) => {
          model.store(item);
          return stored;
        };
        while (open.length > 0) answer(0, ["stored"]);
        await clock.advance(15_000);
        expect(settled.map((each) => each.id).toSorted()).toEqual([...sequences.keys()].toSorted());
        expect(queue.health()).toMatchObject({ pending: 0, bytes: 0, waiting: 0 });
        expectOrder(model);
        const there = new Set(model.stored.map((each) => each.id));
        for (const { id, result: fate } of settled) {
          // Certain means certain: what settled as not-stored is not there, and is not sent later either.
          const claim = fate.outcome === "stored" ? true : fate.error.outcome === "not-stored" ? false : undefined;
          expect([id, claim ?? there.has(id)]).toEqual([id, there.has(id)]);
        }
        queue.close();
        expect(clock.timers).toBe(0);
      }),
      { numRuns: 200 },
    );
  }, 60_000);
});
