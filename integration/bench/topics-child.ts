// Runs as a process of its own, started by topics.ts, so that everything it counts belongs to one bus.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Bus, connect, type Producer, topic, type Topic } from "@sluice/core";
import { fromUrl } from "@sluice/url";
import { establishedSockets } from "./sockets.ts";

export interface TopicsTask {
  readonly topics: number;
  readonly messages: number;
  readonly idleMs: number;
}

export interface TopicsMeasurement extends TopicsTask {
  readonly received: number;
  readonly lost: number;
  readonly duplicates: number;
  /** Established TCP connections of the process when everything was handled. */
  readonly sockets: number;
  /** KiB a topic more than without the subscription, garbage collected: before any message, and after all of them. */
  readonly memory: {
    readonly subscribed: PerTopic;
    readonly handled: PerTopic;
    /** The most that the whole process ever had. */
    readonly peakRssMiB: number;
  };
  readonly idle: { readonly seconds: number; readonly coreShare: number };
  readonly seconds: { readonly subscribe: number; readonly traffic: number };
}

interface PerTopic {
  readonly rssKiB: number;
  readonly heapKiB: number;
}

interface Payload {
  readonly topic: number;
  readonly index: number;
}

/** Topics that are written at the same time. */
const writers = 8;
/** Commits and the like end before doing nothing is watched. */
const calmMs = 3_000;

class Tally {
  readonly #seen: Uint8Array;
  readonly #messages: number;
  readonly #complete = Promise.withResolvers<void>();
  received = 0;
  duplicates = 0;

  constructor({ topics, messages }: TopicsTask) {
    this.#seen = new Uint8Array(topics * messages);
    this.#messages = messages;
  }

  get lost(): number {
    return this.#seen.length - this.received + this.duplicates;
  }

  readonly count = ({ topic: of, index }: Payload): void => {
    const at = of * this.#messages + index;
    this.received++;
    if (this.#seen[at] === 1) this.duplicates++;
    this.#seen[at] = 1;
    if (this.lost === 0) this.#complete.resolve();
  };

  /** Resolves when all are there, or when nothing came for a minute. */
  async settled(): Promise<void> {
    const quiet = Promise.withResolvers<void>();
    let before = 0;
    let still = 0;
    const timer = setInterval(() => {
      still = this.received === before ? still + 1 : 0;
      before = this.received;
      say(`received ${before}`);
      if (still === 6) quiet.resolve();
    }, 10_000);
    if (this.lost > 0) await Promise.race([this.#complete.promise, quiet.promise]);
    clearInterval(timer);
  }
}

async function main(task: TopicsTask): Promise<TopicsMeasurement> {
  const run = randomUUID().slice(0, 8);
  const name = (index: number | string): string => `bench.${run}.${index}`;
  const declared = Array.from({ length: task.topics }, (_, index) => topic<Payload>(name(index), { shards: 1 }));
  const bus: Bus = await connect(await fromUrl(process.env["BROKER_URL"] ?? "memory:"), { clientName: "bench-topics" });
  const warm = Math.ceil(task.topics / 5);
  await warmUp(
    bus,
    Array.from({ length: warm }, (_, index) => topic<Payload>(name(`warm-${index}`), { shards: 1 })),
  );

  const before = memory();
  const began = performance.now();
  const tally = new Tally(task);
  await bus.subscribe(declared, { group: "bench" }, ({ payload }) => tally.count(payload));
  const subscribed = performance.now();
  const after = memory();
  say(`subscribed to ${task.topics} topics`);

  await publishAll(
    declared.map((each) => bus.producer(each)),
    task.messages,
  );
  say(`published ${task.topics * task.messages} messages`);
  await tally.settled();
  const handled = performance.now();
  say(`received ${tally.received}`);
  const sockets = establishedSockets();
  const idle = await watchIdle(task.idleMs);
  const end = memory();
  const { received, lost, duplicates } = tally;
  const peakRssMiB = round(process.resourceUsage().maxRSS / 1024);
  await bus.close();
  const more = (now: ReturnType<typeof memory>): PerTopic => ({
    rssKiB: round((now.rss - before.rss) / 1024 / task.topics),
    heapKiB: round((now.heap - before.heap) / 1024 / task.topics),
  });
  return {
    ...task,
    received,
    lost,
    duplicates,
    sockets,
    memory: { subscribed: more(after), handled: more(end), peakRssMiB },
    idle,
    seconds: { subscribe: round((subscribed - began) / 1000), traffic: round((handled - subscribed) / 1000) },
  };
}

/**
 * Does all of it once, with other topics: what every bus needs (code, buffers, and the room that the engine takes for
 * short-lived objects and keeps) is not what a topic costs.
 */
async function warmUp(bus: Bus, topics: readonly Topic<Payload>[]): Promise<void> {
  const tally = new Tally({ topics: topics.length, messages: 10, idleMs: 0 });
  const subscription = await bus.subscribe(topics, { group: "bench" }, ({ payload }) => tally.count(payload));
  await publishAll(
    topics.map((each) => bus.producer(each)),
    10,
  );
  await tally.settled();
  await subscription.drain();
}

async function publishAll(producers: readonly Producer<Payload>[], messages: number): Promise<void> {
  let next = 0;
  const write = async (): Promise<void> => {
    for (let of = next++; of < producers.length; of = next++) {
      const batch = Array.from({ length: messages }, (_, index) => ({ payload: { topic: of, index } }));
      const results = (await producers[of]?.sendBatch(batch)) ?? [];
      for (const result of results) if (result.status === "failed") throw result.error;
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
}

async function watchIdle(idleMs: number): Promise<TopicsMeasurement["idle"]> {
  await sleep(calmMs);
  const began = performance.now();
  const start = process.cpuUsage();
  await sleep(idleMs);
  const { user, system } = process.cpuUsage(start);
  const elapsedMs = performance.now() - began;
  return { seconds: round(elapsedMs / 1000), coreShare: Math.round(((user + system) / 1000 / elapsedMs) * 1e4) / 1e4 };
}

function memory(): { readonly rss: number; readonly heap: number } {
  globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heap: heapUsed + external };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

const measurement = await main(JSON.parse(process.argv[2] ?? "{}") as TopicsTask);
process.stdout.write(JSON.stringify(measurement));
// What the client library still holds must not keep the process.
process.exit(0);
