// Three topics on one bus, one of them deleted while all are busy: the other two do not notice.
import { randomUUID } from "node:crypto";
import { subscribe as onChannel, unsubscribe as offChannel } from "node:diagnostics_channel";
import { type Bus, connect, type ConnectOptions, type Topic, topic } from "@sluice/core";
import { kafka } from "@sluice/kafka";
import { Kafka, logLevel } from "kafkajs";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { brokers } from "../brokers/index.ts";

const started = await brokers([{ broker: "kafka" }]);
process.stdout.write(`${started.table()}\n`);
afterAll(() => started.stopAll(), 60_000);
const [running] = started.available;
const address = running?.address.kind === "brokers" ? running.address.brokers : [];

interface Tick {
  readonly n: number;
}
type Ticks = Topic<Tick, Tick>;

const group = "g";
const patience = { timeout: 60_000, interval: 50 };

async function open(sharedGroups: boolean, options: ConnectOptions): Promise<Bus> {
  const timing = { sessionTimeout: 6_000, heartbeatInterval: 500, fetchWait: 100 };
  const bus = await connect(kafka({ brokers: address, sharedGroups, ...timing }), options);
  onTestFinished(() => bus.close());
  return bus;
}

/** By topic, the numbers as they were handled. */
type Handled = ReadonlyMap<string, readonly number[]>;

async function listen(bus: Bus, topics: readonly Ticks[]): Promise<Handled> {
  const handled = new Map(topics.map(({ name }) => [name, [] as number[]]));
  for (const each of topics) {
    await bus.subscribe(each, { group }, async ({ n }) => void handled.get(each.name)?.push(n));
  }
  return handled;
}

/** Publishes to one topic until it is told to stop; a publish that is refused is only counted. Resolves to what was confirmed. */
function flow(
  bus: Bus,
  to: Ticks,
  signal: AbortSignal,
): Promise<{ readonly sent: number[]; readonly codes: Set<string> }> {
  const [sent, codes]: [number[], Set<string>] = [[], new Set()];
  return (async () => {
    for (let n = 0; !signal.aborted; n++) {
      await bus.publish(to, { n }, { deadline: 10_000 }).then(
        () => sent.push(n),
        (error: { readonly code?: string }) => codes.add(String(error.code)),
      );
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return { sent, codes };
  })();
}

function stateOf(bus: Bus, { name }: Ticks) {
  const found = bus.health().subscriptions.find(({ topics }) => topics.includes(name));
  return { state: found?.state, code: found?.error?.code, message: found?.error?.message ?? "" };
}

/** Every state but `live` that the subscriptions of these topics were seen in. */
function watch(bus: Bus, topics: readonly Ticks[]): ReadonlySet<string> {
  const seen = new Set<string>();
  const timer = setInterval(() => {
    for (const each of topics) {
      const { state, message } = stateOf(bus, each);
      if (state !== "live") seen.add(`${each.name}: ${state} ${message}`);
    }
  }, 20);
  onTestFinished(() => clearInterval(timer));
  return seen;
}

async function administrator() {
  const admin = new Kafka({ brokers: [...address], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  onTestFinished(() => admin.disconnect());
  return admin;
}

async function prepare(sharedGroups: boolean) {
  const run = randomUUID();
  const named = (name: string) => topic<Tick>(`${name}-${run}`, { groups: [group], shards: 2, ordering: "none" });
  const topics = [named("one"), named("gone"), named("other")] as const;
  const maker = await open(sharedGroups, {});
  for (const each of topics) await maker.publish(each, { n: -1 });
  return { maker, topics, admin: await administrator() };
}

describe.skipIf(!running).each([false, true])("a topic is deleted, sharedGroups: %s", (sharedGroups) => {
  test(
    "its subscription says so and waits; the others go on; made again, it flows again",
    { timeout: 240_000 },
    async () => {
      const { maker, topics, admin } = await prepare(sharedGroups);
      const [one, gone, other] = topics;
      const bus = await open(sharedGroups, { provision: "assume" });
      const handled = await listen(bus, topics);
      const count = ({ name }: Ticks) => handled.get(name)?.length ?? 0;
      const stop = new AbortController();
      const publisher = await open(sharedGroups, { provision: "assume" });
      const flows = [one, other].map((each) => flow(publisher, each, stop.signal));
      const doomed = flow(maker, gone, stop.signal);
      await vi.waitFor(() => expect(Math.min(...topics.map(count))).toBeGreaterThan(50), patience);

      const strange = watch(bus, [one, other]);
      await maker.close(); // Or its next publish would make the topic again.
      await admin.deleteTopics({ topics: [gone.name] });
      const named = { state: "reconnecting", code: "NOT_FOUND", message: expect.stringContaining(`"${gone.name}"`) };
      await vi.waitFor(() => expect(stateOf(bus, gone).state).not.toBe("live"), patience);
      // Between two attempts to open it again it is "opening" for a moment.
      await vi.waitFor(() => expect(stateOf(bus, gone)).toMatchObject(named), patience);
      expect(bus.health().status).toBe("degraded");
      const [before, since] = [count(one) + count(other), performance.now()];
      await vi.waitFor(() => expect(count(one) + count(other)).toBeGreaterThan(before + 200), patience);
      const perSecond = ((count(one) + count(other) - before) / (performance.now() - since)) * 1_000;
      process.stdout.write(`the other topics: ${Math.round(perSecond)} messages a second after the deletion\n`);
      // Somebody who publishes to all three from one bus learns which of them is the one, and the other two take what he sends.
      await expect(bus.publish(gone, { n: -2 }, { deadline: 10_000 })).rejects.toMatchObject({
        code: "NOT_FOUND",
        message: expect.stringContaining(`"${gone.name}"`),
      });
      await bus.publish(one, { n: -2 }, { deadline: 10_000 });

      // Made again by somebody else: what is sent before the subscription is back is not missed.
      await admin.createTopics({ topics: [{ topic: gone.name, numPartitions: 2 }] });
      const again = await open(sharedGroups, { provision: "assume" });
      await again.publish(gone, { n: 4711 }, { deadline: 10_000 });
      await vi.waitFor(() => expect(handled.get(gone.name)).toContain(4711), patience);
      expect(stateOf(bus, gone).state).toBe("live");
      stop.abort();
      await doomed;
      const sent = (await Promise.all(flows)).map((each) => each.sent);
      for (const [index, each] of [one, other].entries()) {
        const wanted = sent[index] ?? [];
        await vi.waitFor(
          () =>
            expect(new Set(handled.get(each.name))).toEqual(new Set([...wanted, ...(each === one ? [-1, -2] : [-1])])),
          patience,
        );
        const repeated = count(each) - new Set(handled.get(each.name)).size;
        expect(repeated, `repeated deliveries of ${each.name}`).toBe(0);
      }
      expect([...strange]).toEqual([]);
    },
  );

  test("with provision 'create' the subscription makes it again by itself", { timeout: 120_000 }, async () => {
    const { maker, topics, admin } = await prepare(sharedGroups);
    const [one, gone, other] = topics;
    const made: string[] = [];
    const note = (event: unknown) => void made.push((event as { readonly detail: string }).detail);
    onChannel("sluice:broker", note);
    onTestFinished(() => void offChannel("sluice:broker", note));
    const handled = await listen(maker, topics);
    await vi.waitFor(() => expect(handled.get(gone.name)).toEqual([-1]), patience);
    const strange = watch(maker, [one, other]);
    await admin.deleteTopics({ topics: [gone.name] });
    await vi.waitFor(
      () => expect(made.join()).toContain(`"${gone.name}" had been deleted and was made again`),
      patience,
    );
    await vi.waitFor(() => expect(stateOf(maker, gone).state).toBe("live"), patience);
    for (const each of topics) await maker.publish(each, { n: 1 }, { deadline: 20_000 });
    for (const each of topics) await vi.waitFor(() => expect(handled.get(each.name)).toEqual([-1, 1]), patience);
    expect([...strange]).toEqual([]);
  });
});
