import { type Delivery, emptyHeaders } from "@sluice/core/driver";
import { simulation } from "@sluice/memory";
import { describe, expect, test } from "vitest";
import { status } from "../src/errors.ts";
import { Holdings } from "../src/holdings.ts";
import { FakeCalls, grpcError } from "./support/calls.ts";

const leased = { subscription: "projects/p/subscriptions/s", leaseMs: 60_000, exactlyOnce: false };

function delivery(id: string): Delivery {
  return {
    id,
    key: null,
    body: Buffer.from(id),
    headers: emptyHeaders(),
    time: undefined,
    source: { topic: "t", group: "g", start: "now" },
    shard: "",
    deliveries: undefined,
    fence: undefined,
    native: undefined,
  };
}

function prepare(from = leased) {
  const calls = new FakeCalls();
  const clock = simulation();
  const lost: (string | undefined)[] = [];
  const holdings = new Holdings({
    channels: calls,
    runtime: clock.runtime,
    leaseMs: from.leaseMs,
    lost: (deliveries) => lost.push(...deliveries.map(({ id }) => id)),
    room: () => {},
  });
  const add = (id: string, out = true) => {
    const made = delivery(id);
    holdings.add(made, `ack-${id}`, from, clock.runtime.monotonicMs());
    if (out) holdings.handOut(made);
    return made;
  };
  return { calls, clock, lost, holdings, add };
}

describe("holdings", () => {
  test("an accepted one leaves when the broker answered, and once", async () => {
    const { calls, holdings, add } = prepare();
    const made = add("a");
    const settled = holdings.settle([{ delivery: made, accept: true }]);
    expect(holdings.size).toBe(1);
    (await calls.next()).answer();
    expect(await settled).toEqual(["sent"]);
    expect(holdings.size).toBe(0);
    expect(await holdings.settle([{ delivery: made, accept: true }])).toEqual(["lost"]);
  });

  test("with exactly-once delivery the answer is a confirmation", async () => {
    const { calls, holdings, add } = prepare({ ...leased, exactlyOnce: true });
    const settled = holdings.settle([{ delivery: add("a"), accept: true }]);
    (await calls.next()).answer();
    expect(await settled).toEqual(["durable"]);
  });

  test("an expired lease is told, and can no longer settle: without exactly-once the broker would not say so", async () => {
    const { calls, clock, lost, holdings, add } = prepare();
    const made = add("a");
    await clock.advance(90_000);
    expect(lost).toEqual(["a"]);
    expect(await holdings.settle([{ delivery: made, accept: true }])).toEqual(["lost"]);
    expect(await holdings.extend([made], 60_000)).toEqual([made]);
    expect(calls.log).toEqual([]);
  });

  test("prolonged ones stay", async () => {
    const { calls, clock, lost, holdings, add } = prepare();
    const made = add("a");
    for (let n = 0; n < 4; n++) {
      await clock.advance(40_000);
      const extended = holdings.extend([made], 60_000);
      (await calls.next()).answer();
      expect(await extended).toEqual([]);
    }
    expect(lost).toEqual([]);
  });

  test("a renewal that fails is no loss until the lease is over", async () => {
    const { calls, clock, lost, holdings, add } = prepare();
    const extended = holdings.extend([add("a")], 60_000);
    (await calls.next()).fail(grpcError(status.permissionDenied));
    expect(await extended).toEqual([]);
    await clock.advance(90_000);
    expect(lost).toEqual(["a"]);
  });

  test("with exactly-once delivery the broker's refusal is the loss", async () => {
    const { calls, holdings, add } = prepare({ ...leased, exactlyOnce: true });
    const made = add("a");
    const extended = holdings.extend([made], 60_000);
    (await calls.next()).fail(grpcError(status.failedPrecondition));
    expect(await extended).toEqual([made]);
    expect(holdings.size).toBe(0);
  });

  test("what core has not seen is renewed here", async () => {
    const { calls, clock, lost, holdings, add } = prepare();
    const waiting = add("a", false);
    for (let n = 0; n < 10; n++) {
      await clock.advance(15_000);
      calls.answerAll();
    }
    expect(holdings.has(waiting)).toBe(true);
    expect(lost).toEqual([]);
    expect(calls.log.every((line) => line.startsWith("ModifyAckDeadline"))).toBe(true);
  });

  test("the end gives everything back and leaves no timer", async () => {
    const { calls, clock, holdings, add } = prepare();
    add("a");
    add("b", false);
    const ended = holdings.end(new AbortController().signal);
    expect((await calls.next()).request).toMatchObject({ ackIds: ["ack-a", "ack-b"], ackDeadlineSeconds: 0 });
    calls.open[0]?.answer();
    await ended;
    expect(clock.timers).toBe(0);
  });
});
