import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { climb, dueBinding, ladder, ladderMs, levels } from "../src/delay-ladder.ts";
import { names } from "../src/names.ts";
import { routingKey } from "../src/routing.ts";

const resources = ladder(names(""));

interface Step {
  readonly to: string;
  readonly pattern: string;
}

/** The broker's view of the ladder: where an exchange leads, and what a queue does when its time is over. */
const bindings = new Map<string, Step[]>();
const queues = new Map<string, { readonly ttl: number; readonly next: string }>();
for (const { kind, name, settings } of resources) {
  if (kind === "queue") {
    queues.set(name, { ttl: Number(settings["x-message-ttl"]), next: String(settings["x-dead-letter-exchange"]) });
  }
  if (kind !== "binding") continue;
  const source = String(settings["source"]);
  const to = `${String(settings["to"])} ${String(settings["destination"])}`;
  bindings.set(source, [...(bindings.get(source) ?? []), { to, pattern: String(settings["pattern"]) }]);
}

/** `#.1.*.*`: the word before the last two. */
function leads({ pattern }: Step, words: readonly string[]): boolean {
  const [, bit, ...rest] = pattern.split(".");
  return words.at(-1 - rest.length) === bit;
}

/** Milliseconds until a message reaches the end, following exchanges and queues as the broker does. */
function travel(level: number, words: readonly string[]): number {
  let exchange = level < 0 ? "sluice.delay.due" : names("").ladder(level);
  let waited = 0;
  while (exchange !== "sluice.delay.due") {
    const open = (bindings.get(exchange) ?? []).filter((step) => leads(step, words));
    expect(open).toHaveLength(1);
    const [kind, name = ""] = open[0]?.to.split(" ") ?? [];
    const queue = kind === "queue" ? queues.get(name) : undefined;
    waited += queue?.ttl ?? 0;
    exchange = queue?.next ?? name;
  }
  return waited;
}

describe("delay ladder", () => {
  test("a message waits as long as asked, rounded up to a second", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 1, max: ladderMs })),
        fc.string(),
        (waitMs, key) => {
          const step = climb(waitMs) ?? { level: -1, words: "" };
          const waited = travel(step.level, [...routingKey(key).split("."), ...step.words.split(".")]);
          expect(waited).toBe(Math.ceil(waitMs / 1_000) * 1_000);
        },
      ),
    );
  });

  test("what is due now does not climb", () => {
    expect(climb(0)).toBeUndefined();
    expect(climb(-5)).toBeUndefined();
    expect(climb(1)).toEqual({ level: 0, words: "1" });
    expect(climb(1_000)).toEqual({ level: 0, words: "1" });
    expect(climb(5_001)).toEqual({ level: 2, words: "1.1.0" });
    expect(climb(ladderMs)?.level).toBe(levels - 1);
  });

  test("the routing key stays below the wire's limit", () => {
    expect(Buffer.byteLength(`${routingKey("key")}.${climb(ladderMs)?.words ?? ""}`)).toBeLessThan(255);
  });

  test("every waiting queue hands on without loss", () => {
    expect(queues.size).toBe(levels);
    for (const { kind, settings } of resources) {
      if (kind !== "queue") continue;
      expect(settings).toMatchObject({
        "x-queue-type": "quorum",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
      });
    }
  });

  test("queue and exchange of one name are two destinations", () => {
    const [queue, exchange] = (["queue", "exchange"] as const).map((kind) => dueBinding(names(""), "orders", kind));
    expect(queue?.settings["sluice-to"]).not.toBe(exchange?.settings["sluice-to"]);
    expect(names("acme.").ladder(3)).toBe("acme.sluice.delay.8s");
  });
});
