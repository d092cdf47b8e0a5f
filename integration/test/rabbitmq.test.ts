import { randomUUID } from "node:crypto";
import { type Bus, connect, type ConnectOptions, isSluiceError, type SluiceError, topic } from "@sluice/core";
import { rabbitmq } from "@sluice/rabbitmq";
import { connect as connectRaw } from "amqplib";
import { describe, expect, onTestFinished, test } from "vitest";
import { conformanceOf } from "./conformance.ts";

const running = await conformanceOf("rabbitmq");
const rabbitmqctl = running?.control?.rabbitmqctl;
const url = running?.address.kind === "url" ? running.address.url : "amqp://localhost";

/** Patterns over names, as RabbitMQ has them. */
interface Rights {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** A bus of a user with these rights only. */
async function busOf(rights: Rights, options: ConnectOptions = {}): Promise<Bus> {
  const name = `limited-${randomUUID().slice(0, 8)}`;
  await rabbitmqctl?.("add_user", name, "secret");
  onTestFinished(() => rabbitmqctl?.("delete_user", name));
  await rabbitmqctl?.("set_permissions", "-p", "/", name, rights.configure, rights.write, rights.read);
  const bus = await connect(rabbitmq({ url, username: name, password: "secret" }), options);
  onTestFinished(() => bus.close());
  return bus;
}

async function owner(): Promise<Bus> {
  const bus = await connect(rabbitmq({ url }));
  onTestFinished(() => bus.close());
  return bus;
}

/** The error of a call that must fail, and soon. */
async function refusal(call: () => Promise<unknown>): Promise<SluiceError> {
  const began = performance.now();
  const error: unknown = await call().then(
    () => new Error("it did not fail"),
    (reason: unknown) => reason,
  );
  if (!isSluiceError(error)) throw error;
  expect(performance.now() - began).toBeLessThan(10_000);
  return error;
}

const all = ".*";
const nothing = "^$";

describe.skipIf(!rabbitmqctl)("rights of a RabbitMQ user", { timeout: 60_000 }, () => {
  const fresh = () => topic<{ n: number }>(`rights.${randomUUID().slice(0, 8)}`, { groups: ["billing"] });

  test("who may not create is told what and which right is missing", async () => {
    const bus = await busOf({ configure: nothing, write: all, read: all });
    const orders = fresh();
    const subscribing = await refusal(() => bus.subscribe(orders, { group: "billing" }, () => {}));
    expect(subscribing.code).toBe("FORBIDDEN");
    expect(subscribing.message).toMatch(new RegExp(`no right to create exchange "${orders.name}".*"configure"`));
    const publishing = await refusal(() => bus.publish(orders, { n: 1 }));
    expect(publishing).toMatchObject({ code: expect.stringMatching(/FORBIDDEN|NOT_FOUND/), outcome: "not-stored" });
    expect(publishing.message).toContain(orders.name);
  });

  test("who may only use what exists does so", async () => {
    const orders = fresh();
    await (await owner()).publish(orders, { n: 1 });
    const bus = await busOf({ configure: nothing, write: all, read: all });
    const handled = Promise.withResolvers<number>();
    await bus.subscribe(orders, { group: "billing" }, ({ n }) => handled.resolve(n));
    expect(await handled.promise).toBe(1);
  });

  test("who may not write is refused at the publish, and the connection goes on", async () => {
    const orders = fresh();
    await (await owner()).publish(orders, { n: 1 });
    const bus = await busOf({ configure: nothing, write: nothing, read: all }, { provision: "assume" });
    const error = await refusal(() => bus.publish(orders, { n: 2 }));
    expect(error.code).toBe("FORBIDDEN");
    const handled = Promise.withResolvers<number>();
    await bus.subscribe(orders, { group: "billing" }, ({ n }) => handled.resolve(n));
    expect(await handled.promise).toBe(1);
  });

  test("who may not read is refused at the subscription", async () => {
    const orders = fresh();
    await (await owner()).publish(orders, { n: 1 });
    const bus = await busOf({ configure: nothing, write: all, read: nothing }, { provision: "assume" });
    const error = await refusal(() => bus.subscribe(orders, { group: "billing" }, () => {}));
    expect(error.code).toBe("FORBIDDEN");
    expect(error.message).toContain(`${orders.name}.billing`);
  });
});

describe.skipIf(!running)("what is missing", { timeout: 60_000 }, () => {
  test.each(["assume", "verify"] as const)("a topic that does not exist, with provision '%s'", async (provision) => {
    const bus = await connect(rabbitmq({ url }), { provision });
    onTestFinished(() => bus.close());
    const missing = topic<{ n: number }>(`missing.${randomUUID().slice(0, 8)}`);
    for (const call of [
      () => bus.publish(missing, { n: 1 }),
      () => bus.subscribe(missing, { group: "g" }, () => {}),
      () => bus.deadLetters(missing, { group: "g" }).count(),
    ]) {
      const error = await refusal(call);
      expect(error.code).toBe("NOT_FOUND");
      expect(error.message).toContain(missing.name);
    }
  });

  test("what another prefix has", async () => {
    const orders = topic<{ n: number }>(`prefixed.${randomUUID().slice(0, 8)}`, { groups: ["billing"] });
    const mine = await connect(rabbitmq({ url, prefix: "mine-" }));
    onTestFinished(() => mine.close());
    await mine.publish(orders, { n: 1 });
    const theirs = await connect(rabbitmq({ url, prefix: "theirs-" }), { provision: "assume" });
    onTestFinished(() => theirs.close());
    expect((await refusal(() => theirs.publish(orders, { n: 2 }))).code).toBe("NOT_FOUND");
    const raw = await connectRaw(url);
    onTestFinished(() => raw.close());
    const channel = await raw.createChannel();
    expect(await channel.checkQueue(`mine-${orders.name}.billing`)).toMatchObject({ messageCount: 1 });
    await channel.checkExchange("mine-sluice.delay.1s");
  });

  test("a virtual host that does not exist", async () => {
    const there = new URL(url);
    there.pathname = "/nowhere";
    const error = await refusal(() => connect(rabbitmq({ url: there.href })));
    expect(error).toMatchObject({ code: "NOT_FOUND", message: expect.stringContaining('vhost "nowhere"') });
  });
});

describe.skipIf(!running)("many topics in one subscription", { timeout: 120_000 }, () => {
  const topicsOf = (count: number) => {
    const base = `many.${randomUUID().slice(0, 8)}`;
    return Array.from({ length: count }, (_, n) => topic<{ n: number }>(`${base}.t${n}`));
  };

  /** Resolves to their number when a message of each of these topics was handled. */
  function collect(names: readonly string[]) {
    const left = new Set(names);
    const done = Promise.withResolvers<number>();
    return {
      done: done.promise,
      handle: (event: { readonly topic: string }) => {
        if (left.delete(event.topic) && left.size === 0) done.resolve(names.length);
      },
    };
  }

  test("a hundred share a few channels; a queue that is deleted is made again, and the others go on", async () => {
    const topics = topicsOf(100);
    const bus = await owner();
    let collected = collect(topics.map(({ name }) => name));
    await bus.subscribe(topics, { group: "g" }, (event) => collected.handle(event));
    await Promise.all(topics.map((each) => bus.publish(each, { n: 1 })));
    expect(await collected.done).toBe(100);

    collected = collect(topics.map(({ name }) => name));
    const raw = await connectRaw(url);
    onTestFinished(() => raw.close());
    const channel = await raw.createChannel();
    await channel.deleteQueue(`${topics[7]?.name}.g`);
    const publish = async (each: (typeof topics)[number]): Promise<unknown> =>
      // Until it is there again nobody keeps what is sent.
      bus.publish(each, { n: 2 }).catch(() => publish(each));
    await Promise.all(topics.map(publish));
    expect(await collected.done).toBe(100);
  });

  test("with a window of one they take turns, and those that are empty are passed over", async () => {
    const topics = topicsOf(20);
    const bus = await owner();
    const some = topics.filter((_, index) => index % 6 === 5);
    const collected = collect(some.map(({ name }) => name));
    await bus.subscribe(topics, { group: "g", window: 1, concurrency: 1 }, (event) => collected.handle(event));
    await Promise.all(some.map((each) => bus.publish(each, { n: 1 })));
    expect(await collected.done).toBe(some.length);
  });
});
