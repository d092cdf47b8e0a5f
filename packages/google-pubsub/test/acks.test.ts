import { simulation } from "@sluice/memory";
import { describe, expect, test } from "vitest";
import { settleIds } from "../src/acks.ts";
import { notRenewed, status } from "../src/errors.ts";
import { FakeCalls, grpcError } from "./support/calls.ts";

const subscription = "projects/p/subscriptions/s";

function prepare() {
  const calls = new FakeCalls();
  const clock = simulation();
  return { calls, clock, parts: { channels: calls, runtime: clock.runtime } };
}

describe("settling ids", () => {
  test("accepts, releases and prolongs", async () => {
    const { calls, parts } = prepare();
    const all = [undefined, 0, 60].map((seconds) => settleIds(parts, subscription, ["a"], seconds));
    for (let n = 0; n < 3; n++) (await calls.next()).answer();
    expect((await Promise.all(all)).map(({ size }) => size)).toEqual([0, 0, 0]);
    expect(calls.log).toEqual([
      `Acknowledge {"subscription":"${subscription}","ackIds":["a"]}`,
      `ModifyAckDeadline {"subscription":"${subscription}","ackIds":["a"],"ackDeadlineSeconds":0}`,
      `ModifyAckDeadline {"subscription":"${subscription}","ackIds":["a"],"ackDeadlineSeconds":60}`,
    ]);
  });

  test("a thousand in a request", async () => {
    const { calls, parts } = prepare();
    const settled = settleIds(
      parts,
      subscription,
      Array.from({ length: 2_500 }, (_, n) => `${n}`),
      undefined,
    );
    await calls.next();
    expect(calls.open.map(({ request }) => (request as { ackIds: string[] }).ackIds.length)).toEqual([
      1_000, 1_000, 500,
    ]);
    calls.answerAll();
    await settled;
  });

  test.each([
    ["the service is away", grpcError(status.unavailable)],
    ["there are no new credentials yet", notRenewed(new Error("status code 503"))],
  ])("tries again what may pass: %s", async (_, error) => {
    const { calls, clock, parts } = prepare();
    const settled = settleIds(parts, subscription, ["a"], undefined);
    (await calls.next()).fail(error);
    await clock.advance(1_000);
    (await calls.next()).answer();
    expect(await settled).toEqual(new Set());
  });

  test("a subscription that is gone loses all of them at once", async () => {
    const { calls, parts } = prepare();
    const settled = settleIds(parts, subscription, ["a", "b"], undefined);
    (await calls.next()).fail(grpcError(status.notFound));
    expect(await settled).toEqual(new Set(["a", "b"]));
  });

  test("one unknown id does not take the others with it", async () => {
    const { calls, parts } = prepare();
    const settled = settleIds(parts, subscription, ["a", "bogus"], undefined);
    (await calls.next()).fail(grpcError(status.invalidArgument));
    (await calls.next()).answer();
    (await calls.next()).fail(grpcError(status.invalidArgument));
    expect(await settled).toEqual(new Set(["bogus"]));
  });
});
