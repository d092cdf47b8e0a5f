import { EventEmitter } from "node:events";
import type { Delivery, Runtime } from "@sluice/core/driver";
import type { ConsumeMessage } from "amqplib";
import { describe, expect, test } from "vitest";
import { ConsumeChannel } from "../src/consume-channel.ts";
import type { Link } from "../src/link.ts";

/** Notes every command, and answers at once. */
class FakeChannel extends EventEmitter {
  readonly said: string[] = [];
  ack({ fields }: ConsumeMessage, upTo = false): void {
    this.said.push(`ack ${fields.deliveryTag}${upTo ? " and before" : ""}`);
  }
  nack({ fields }: ConsumeMessage, upTo: boolean): void {
    this.said.push(`nack ${fields.deliveryTag}${upTo ? " and before" : ""}`);
  }
  reject({ fields }: ConsumeMessage): void {
    this.said.push(`reject ${fields.deliveryTag}`);
  }
  async prefetch(count: number): Promise<void> {
    this.said.push(`prefetch ${count}`);
  }
  async consume(queue: string): Promise<{ consumerTag: string }> {
    this.said.push(`consume ${queue}`);
    return { consumerTag: "barrier" };
  }
  async cancel(tag: string): Promise<void> {
    this.said.push(`cancel ${tag}`);
  }
  async close(): Promise<void> {
    this.said.push("close");
    this.emit("close");
  }
}

const runtime = { monotonicMs: () => 0, timer: () => () => {} } as unknown as Runtime;

async function open(...lanes: readonly object[]) {
  const native = new FakeChannel();
  const link = { alive: true, native: { createChannel: async () => native } } as unknown as Link;
  const channel = new ConsumeChannel(link, runtime);
  await Promise.all(lanes.map((lane) => channel.join(lane, "cannot consume")));
  let tag = 0;
  const deliver = (): Delivery => {
    const delivery = {} as Delivery;
    channel.delivered(delivery, { fields: { deliveryTag: ++tag } } as ConsumeMessage);
    return delivery;
  };
  return { native, channel, deliver };
}

describe("a channel that lanes share", () => {
  test("acknowledges a prefix of everything on it with one command, and what is behind a gap one by one", async () => {
    const { native, channel, deliver } = await open({});
    const [one, other] = [channel.consumer("one", true), channel.consumer("other", true)];
    const [first, second, third, fourth, fifth] = [deliver(), deliver(), deliver(), deliver(), deliver()];
    channel.accept(one, new Set([first, second]));
    channel.accept(other, new Set([fourth, fifth]));
    channel.accept(one, new Set([third]));
    expect(native.said).toEqual(["ack 2 and before", "ack 4", "ack 5", "ack 3 and before"]);
  });

  test("never acknowledges another lane's message with a prefix", async () => {
    const { native, channel, deliver } = await open({});
    const consumer = channel.consumer("q", true);
    const [, second] = [deliver(), deliver()];
    channel.accept(consumer, new Set([second]));
    expect(native.said).toEqual(["ack 2"]);
  });

  test("returns in one command only where nothing else is out", async () => {
    const { native, channel, deliver } = await open({});
    const consumer = channel.consumer("q", true);
    const [first, second, third] = [deliver(), deliver(), deliver()];
    channel.returnAll(consumer, [second]);
    channel.release(consumer, first, "failed");
    channel.returnAll(consumer, [third]);
    expect(native.said).toEqual(["nack 2", "reject 1", "nack 3 and before"]);
  });

  test("what was forgotten is not touched", async () => {
    const { native, channel, deliver } = await open({});
    const consumer = channel.consumer("q", true);
    const [first, second] = [deliver(), deliver()];
    channel.forget([first]);
    channel.release(consumer, first, "returned");
    channel.accept(consumer, new Set([second]));
    expect(native.said).toEqual(["ack 2 and before"]);
  });

  test("asks for a prefetch before the consumers that it is meant for, once for equal ones", async () => {
    const { native, channel } = await open({});
    await Promise.all(
      [5, 5, 6].map((prefetch, index) =>
        channel.consume(channel.consumer(`q${index}`, true), prefetch, () => undefined),
      ),
    );
    expect(native.said).toEqual(["prefetch 5", "consume q0", "consume q1", "prefetch 6", "consume q2"]);
  });

  test("closes with the last lane, behind a barrier of every queue that may not have applied all", async () => {
    const [one, other] = [{}, {}];
    const { native, channel, deliver } = await open(one, other);
    const [busy, idle] = [channel.consumer("busy", true), channel.consumer("idle", true)];
    for (let n = 0; n < 20; n++) channel.release(busy, deliver(), "returned");
    native.said.length = 0;
    await channel.leave(other, idle);
    await channel.leave(other, idle);
    expect(native.said).toEqual([]);
    await channel.leave(one, busy);
    expect(native.said).toEqual(["prefetch 1", "consume busy", "cancel barrier", "close"]);
    expect(channel.alive).toBe(false);
  });

  test("proves what was settled once, and again only for what was settled since", async () => {
    const { native, channel, deliver } = await open({});
    const consumer = channel.consumer("q", true);
    for (let n = 0; n < 20; n++) channel.release(consumer, deliver(), "returned");
    native.said.length = 0;
    await channel.prove(consumer);
    await channel.prove(consumer);
    expect(native.said).toEqual(["prefetch 1", "consume q", "cancel barrier"]);
  });
});

test("consumes without what an instrumentation of the library has wrapped around it", async () => {
  const { native, channel } = await open();
  const original = native.consume.bind(native);
  const wrapped = () => Promise.reject(new Error("the instrumentation was called"));
  Object.assign(native, { consume: Object.assign(wrapped, { __wrapped: true, __original: original }) });
  await channel.join({}, "cannot consume");
  await channel.consume(channel.consumer("one", true), 1, () => undefined);
  expect(native.said).toEqual(["prefetch 1", "consume one"]);
});
