import { EventEmitter } from "node:events";
import { DriverError, emptyHeaders, type SendItem } from "@sluice/core/driver";
import type { ConfirmChannel } from "amqplib";
import { describe, expect, test } from "vitest";
import type { NoRoute, Route } from "../src/routes.ts";
import { RabbitSender } from "../src/sender.ts";

type Confirm = (error: Error | null) => void;

class FakeChannel extends EventEmitter {
  readonly published: { readonly id: string; readonly confirm: Confirm }[] = [];
  /** How many `publish` takes before it says that it is full. */
  room = Infinity;

  publish(
    _exchange: string,
    _key: string,
    _content: Buffer,
    options: { messageId: string },
    confirm: Confirm,
  ): boolean {
    this.published.push({ id: options.messageId, confirm });
    return --this.room > 0;
  }
}

function item(id: string, topic = "t"): SendItem {
  const record = { id, dedupId: `${id}/0`, key: null, body: new Uint8Array(3), headers: emptyHeaders(), time: 0 };
  return { to: { topic }, record };
}

function open(
  find: (each: SendItem) => Route | NoRoute | Promise<Route | NoRoute> = () => ({ exchange: "t", key: "u" }),
) {
  const native = new FakeChannel();
  let lost: ((reason: DriverError) => void) | undefined;
  const channel = {
    native: native as unknown as ConfirmChannel,
    alive: true,
    reason: new DriverError("LOST", "rabbitmq: cannot send: gone"),
    closed: new Promise<undefined>(() => {}),
    onLost: (run: (why: DriverError) => void) => void (lost = run),
    close: async () => {},
  };
  const link: { blocked: string | undefined; watch(): () => void } = { blocked: undefined, watch: () => () => {} };
  const sender = new RabbitSender({ channel, link, routes: { find }, longestHeaders: 4_096 });
  const die = (reason = channel.reason) => {
    channel.alive = false;
    channel.reason = reason;
    for (const { confirm } of native.published) confirm(new Error("channel closed"));
    lost?.(reason);
  };
  return { sender, native, die, link };
}

const forever = new AbortController().signal;

/** Everything that is ready has run. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("sender", () => {
  test("writes a whole call in one go and answers in order, however confirms come", async () => {
    const { sender, native } = open();
    const sending = sender.send([item("a"), item("b"), item("c")], forever);
    expect(native.published.map(({ id }) => id)).toEqual(["a", "b", "c"]);
    native.published[2]?.confirm(null);
    native.published[0]?.confirm(new Error("message nacked"));
    native.published[1]?.confirm(null);
    const results = await sending;
    expect(results.map(({ outcome }) => outcome)).toEqual(["not-stored", "stored", "stored"]);
    expect(results[0]).toMatchObject({ error: { code: "REFUSED", retryable: true } });
  });

  test("what comes back before its confirm is unroutable", async () => {
    const { sender, native } = open();
    const sending = sender.send([item("a"), item("b")], forever);
    native.emit("return", { fields: { exchange: "t", routingKey: "u" }, properties: { messageId: "b" } });
    for (const { confirm } of native.published) confirm(null);
    expect((await sending).map(({ outcome }) => outcome)).toEqual(["stored", "unroutable"]);
  });

  test("of one id only one is on the wire, so that a return is told apart", async () => {
    const { sender, native } = open();
    const sending = sender.send([item("a"), item("a"), item("b")], forever);
    await turn();
    expect(native.published.map(({ id }) => id)).toEqual(["a"]);
    native.emit("return", { fields: {}, properties: { messageId: "a" } });
    native.published[0]?.confirm(null);
    await turn();
    expect(native.published.map(({ id }) => id)).toEqual(["a", "a", "b"]);
    for (const { confirm } of native.published.slice(1)) confirm(null);
    expect((await sending).map(({ outcome }) => outcome)).toEqual(["unroutable", "stored", "stored"]);
  });

  test("waits for the drain of a full channel", async () => {
    const { sender, native } = open();
    native.room = 2;
    const sending = sender.send([item("a"), item("b"), item("c")], forever);
    await turn();
    expect(native.published).toHaveLength(2);
    native.room = Infinity;
    native.emit("drain");
    await turn();
    expect(native.published).toHaveLength(3);
    for (const { confirm } of native.published) confirm(null);
    expect(await sending).toHaveLength(3);
  });

  test("at the signal: unknown on the wire, not stored before it; a late confirm changes nothing", async () => {
    const { sender, native, link } = open();
    const limit = new AbortController();
    const first = sender.send([item("a")], limit.signal);
    link.blocked = "low on memory";
    const second = sender.send([item("b")], limit.signal);
    limit.abort();
    expect(await first).toMatchObject([{ outcome: "unknown", error: { code: "UNAVAILABLE" } }]);
    expect(await second).toMatchObject([
      { outcome: "not-stored", error: { message: expect.stringContaining("low on memory") } },
    ]);
    native.published[0]?.confirm(null);
    await sender.close(AbortSignal.timeout(1_000));
  });

  test("a channel that dies makes what is on it unknown, and nothing is published any more", async () => {
    const { sender, native, die } = open();
    const sending = sender.send([item("a"), item("b")], forever);
    native.published[0]?.confirm(null);
    die();
    expect(await sending).toMatchObject([{ outcome: "stored" }, { outcome: "unknown", error: { retryable: true } }]);
    expect(await sender.send([item("c")], forever)).toMatchObject([{ outcome: "not-stored", error: { code: "LOST" } }]);
    expect(await sender.closed).toMatchObject({ code: "LOST" });
  });

  test("a refused message is told so, once and for all; what was on the channel with it may be sent again", async () => {
    const refusals = [
      new DriverError(
        "FORBIDDEN",
        "rabbitmq: cannot send: access to exchange 'mine' in vhost '/' refused for user 'u'",
      ),
      new DriverError("TOO_LARGE", "rabbitmq: cannot send: message size 3 is larger than configured max size 2"),
    ];
    for (const reason of refusals) {
      const { sender, die } = open(({ to }) => ({ exchange: to.topic, key: "u" }));
      const other = item("b", "other");
      const bigger = { ...other, record: { ...other.record, body: new Uint8Array(4) } };
      const sending = sender.send([item("a", "mine"), bigger], forever);
      die(reason);
      expect(await sending).toMatchObject([
        { outcome: "not-stored", error: { code: reason.code, retryable: false } },
        { outcome: "unknown", error: { code: "LOST", retryable: true } },
      ]);
    }
  });

  test("close waits for the confirms that are due", async () => {
    const { sender, native } = open();
    const sending = sender.send([item("a")], forever);
    let closed = false;
    const closing = sender.close(forever).then(() => (closed = true));
    await turn();
    expect(closed).toBe(false);
    native.published[0]?.confirm(null);
    await closing;
    expect(await sending).toEqual([{ outcome: "stored" }]);
  });

  test("a route that must be looked up keeps the order of the call", async () => {
    const { sender, native } = open(({ to }) =>
      to.topic === "slow" ? turn().then(() => ({ exchange: "slow", key: "u" })) : { exchange: "t", key: "u" },
    );
    const sending = sender.send([item("a", "slow"), item("b")], forever);
    expect(native.published).toHaveLength(0);
    await turn();
    await turn();
    expect(native.published.map(({ id }) => id)).toEqual(["a", "b"]);
    for (const { confirm } of native.published) confirm(null);
    expect(await sending).toHaveLength(2);
  });
});
