import { filter } from "@sluice/middleware";
import type { Context } from "@sluice/core";
import { expect, test } from "vitest";
import { bench, Orders } from "./support/bench.ts";

const european = ({ message }: Context) => message.headers["region"] === "eu";

async function publish(wanted: ReturnType<typeof filter>, regions: readonly string[]) {
  const { bus, clock } = await bench({ middleware: { delivery: [wanted] } });
  const handled: (string | undefined)[] = [];
  const fates: unknown[] = [];
  const subscription = await clock.run(
    bus.subscribe(Orders, { group: "billing", retry: { attempts: 2 } }, (_order, { message }) => {
      handled.push(message.headers["region"]);
    }),
  );
  for (const region of regions) {
    const settled = bus.settled(Orders, { group: "billing" });
    await clock.run(bus.publish(Orders, { orderId: "o-1" }, { headers: { region } }));
    const { fate, reason } = await clock.run(settled);
    fates.push([fate, reason]);
  }
  const { counters } = subscription.health();
  const explained = subscription.explain();
  await clock.run(bus.close());
  return { handled, fates, counters, explained };
}

test("what is wanted passes, the rest is dropped with a reason, and counted", async () => {
  const { handled, fates, counters, explained } = await publish(filter(european), ["eu", "us", "eu"]);
  expect(handled).toEqual(["eu", "eu"]);
  expect(fates).toEqual([
    ["done", undefined],
    ["drop", "filter(european)"],
    ["done", undefined],
  ]);
  expect(counters).toMatchObject({ done: 2, dropped: 1 });
  expect(explained).toContain("chain: filter(european) > retry and dead letter > handler");
});

test("the predicate's own reason, then the given one; promises are waited for", async () => {
  const own = filter(({ message }) => Promise.resolve(message.headers["region"] === "eu" || "not ours"), "given");
  expect((await publish(own, ["us"])).fates).toEqual([["drop", "not ours"]]);
  expect((await publish(filter(european, "given"), ["us"])).fates).toEqual([["drop", "given"]]);
  expect(
    (
      await publish(
        filter(() => false),
        ["us"],
      )
    ).fates,
  ).toEqual([["drop", "filter"]]);
  expect(
    (
      await publish(
        filter(() => ""),
        ["us"],
      )
    ).fates,
  ).toEqual([["drop", "filter"]]);
});

test("a predicate that throws fails the attempt", async () => {
  const broken = filter(() => {
    throw new Error("no such tenant");
  });
  const { handled, fates } = await publish(broken, ["eu"]);
  expect([handled, fates]).toEqual([[], [["dead-letter", "exhausted"]]]);
});

test.for([undefined, null, 1, 0, {}])(
  "a predicate that gives %j drops nothing: it fails the attempt",
  async (given) => {
    const forgetful = filter((() => given) as unknown as () => boolean);
    const { handled, fates, counters } = await publish(forgetful, ["eu"]);
    expect([handled, fates]).toEqual([[], [["dead-letter", "exhausted"]]]);
    expect(counters).toMatchObject({ dropped: 0, retried: 1, deadLettered: 1 });
  },
);

test("refuses what is not a function", () => {
  expect(() => filter("eu" as unknown as () => boolean)).toThrow("the predicate is a string");
});
