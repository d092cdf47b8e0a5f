/** What core asks of a driver in each role, so that a front can compare the calls behind it with the planned rights. */
import assert from "node:assert/strict";
import {
  type Connection,
  type Declaration,
  type DeclaredTopic,
  type Delivery,
  type Destination,
  type Driver,
  emptyHeaders,
  type Receiver,
  type Sender,
  type Source,
} from "@sluice/core/driver";

const delayMs = 1_500;
const patienceMs = 60_000;
const group = "billing";

export interface Roles {
  readonly driver: Driver;
  readonly provision: Connection;
  readonly publish: Connection;
  readonly consume: Connection;
}

/** One topic without order and one with, with a group each, and delays. */
export function declarationOf(name: string): Declaration {
  const groups = [{ name: group, start: "now", retry: true, deadLetter: true }] as const;
  const topic = { shards: 1, delays: true, groups };
  return { topics: [false, true].map((ordered) => ({ ...topic, ordered, name: `${name}.${ordered}` })) };
}

/** Every role does what it is for; `publish` and `consume` each send on what waits, also what the other one left there. */
export async function fulfil(roles: Roles, declaration: Declaration): Promise<void> {
  const resources = roles.driver.topology(declaration);
  const made = await roles.provision.provision(resources, "create", signal());
  // What serves several topics may be there.
  const failed = made.filter(({ state }) => state !== "created" && state !== "ok");
  assert.deepEqual(failed, []);
  for (const role of ["publish", "consume"] as const) {
    const findings = await roles[role].provision(resources, "verify", signal());
    assert.deepEqual(findings, [], `${role} may not verify`);
  }
  for (const topic of declaration.topics) {
    const work = new Work(roles, topic);
    await work.run("publish");
    await work.run("consume");
    await work.redrive();
  }
}

class Work {
  readonly #roles: Roles;
  readonly #topic: DeclaredTopic;

  constructor(roles: Roles, topic: DeclaredTopic) {
    this.#roles = roles;
    this.#topic = topic;
  }

  /** A message and a delayed one; the first is tried again later and dead-lettered. `forwards`: who sends on what waits. */
  async run(forwards: "publish" | "consume"): Promise<void> {
    const { publish, consume } = this.#roles;
    const { name, ordered } = this.#topic;
    const members = await open(consume, { topic: name, group, start: "now" }, ordered);
    const waiting = await open(this.#roles[forwards], { delayed: true }, false);
    const publisher = await publish.sender();
    await send(publisher, { topic: name });
    await send(publisher, { topic: name }, Date.now() + delayMs);
    const own = await consume.sender();
    const [first] = await members.take(1);
    assert.ok(first);
    await members.receiver.extend?.([first], 5_000);
    await send(own, { topic: name, group }, Date.now() + delayMs, first);
    await send(own, { topic: name, group, deadLetter: true }, undefined, first);
    await members.accept(first);
    const forwarder = forwards === "publish" ? publisher : own;
    const done = new AbortController();
    const forwarding = waiting.each(done.signal, async (delivery) => {
      const { to, notBefore } = delivery.forward ?? assert.fail("it waits for nothing");
      await send(forwarder, to, notBefore, delivery);
    });
    try {
      // One after the other: they have one key.
      for (let index = 0; index < 2; index++) for (const one of await members.take(1)) await members.accept(one);
    } finally {
      done.abort();
    }
    await forwarding;
    await Promise.all([members.receiver.close(signal()), waiting.receiver.close(signal())]);
    await consume.backlog({ topic: name, group, start: "now" }, signal());
  }

  async redrive(): Promise<void> {
    const { consume } = this.#roles;
    const { name } = this.#topic;
    const source = { topic: name, group, deadLetter: true } as const;
    const page = await consume.browse?.(source, undefined, 10, signal());
    assert.equal(page?.deliveries.length, 2);
    const letters = await open(consume, source, false);
    const sender = await consume.sender();
    for (const letter of await letters.take(2)) {
      await send(sender, { topic: name, group }, undefined, letter);
      await letters.accept(letter);
    }
    await letters.receiver.close(signal());
  }
}

async function open(connection: Connection, source: Source, ordered: boolean) {
  const options = { ordered, window: 10, windowBytes: 1 << 24, lost: () => {} };
  const receiver: Receiver = await connection.receiver([source], options);
  let failure: unknown = "nothing came";
  const ended = new AbortController();
  void receiver.closed.then((error) => {
    failure = error;
    ended.abort();
  });
  const accept = async (delivery: Delivery) => {
    await receiver.settle([{ delivery, accept: true }]);
  };
  /** n.b. A receiver that was closed answers at once, for ever. */
  async function* deliveries(until: AbortSignal): AsyncGenerator<Delivery> {
    const either = AbortSignal.any([until, ended.signal]);
    while (!either.aborted) {
      const some = await receiver.receive(1, either);
      if (!some) return;
      yield* some;
    }
  }
  return {
    receiver,
    accept,
    async take(wanted: number): Promise<readonly Delivery[]> {
      const taken: Delivery[] = [];
      for await (const delivery of deliveries(signal())) if (taken.push(delivery) === wanted) return taken;
      assert.fail(`${taken.length} of ${wanted} of ${JSON.stringify(source)}: ${String(failure)}`);
    },
    async each(until: AbortSignal, use: (delivery: Delivery) => Promise<void>): Promise<void> {
      for await (const delivery of deliveries(until)) {
        await use(delivery);
        await accept(delivery);
      }
    },
  };
}

let count = 0;

async function send(sender: Sender, to: Destination, notBefore?: number, from?: Delivery): Promise<void> {
  const id = from?.id ?? `m-${++count}`;
  const record = {
    id,
    dedupId: `${id}/${++count}`,
    key: from?.key ?? "k",
    body: from?.body ?? Buffer.from("{}"),
    headers: from?.headers ?? emptyHeaders(),
    time: from?.time ?? Date.now(),
  };
  const item = { to, record, ...(notBefore !== undefined && { notBefore }), ...(from && { from }) };
  const [result] = await sender.send([item], signal());
  assert.equal(
    result?.outcome,
    "stored",
    JSON.stringify({ to, result: String(result && "error" in result && result.error) }),
  );
}

function signal(): AbortSignal {
  return AbortSignal.timeout(patienceMs);
}
