import { type Codec, connect, topic } from "@sluice/core";
import { parseArgs } from "node:util";
import { GCProfiler } from "node:v8";
import { nullDriver } from "./null-driver.ts";

const help = `npm run bench:core -- [--messages N] [--runs N] [--json]

Core's own cost a message, with a driver that does nothing: publish with up to 1,000 in flight, and consume with an empty
handler, each with and without keys. The codec does nothing either. Prints the median of the runs.

  --messages N   messages a run (default 200000)
  --runs N       runs of each kind, after one that warms up (default 5)
  --json         figures as JSON`;

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "200000" },
    runs: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

interface Figure {
  readonly microseconds: number;
  /** Processor time of all threads: others on the machine disturb it less. */
  readonly processor: number;
  readonly bytes: number;
}

const body = new TextEncoder().encode(JSON.stringify({ orderId: "o-1", total: 42 }));
const payload = { orderId: "o-1", customerId: "", total: 42 };
const codec: Codec = { contentType: "application/json", encode: () => body, decode: () => payload };
const keys = Array.from({ length: 1000 }, (_, index) => `customer-${index}`);

async function publish(messages: number, keyed: boolean): Promise<void> {
  const orders = topic("orders", { codec, ...(keyed ? { key: (order: typeof payload) => order.customerId } : {}) });
  const bus = await connect(nullDriver({ messages: 0, body, keys: undefined }));
  const producer = bus.producer(orders);
  let sent = 0;
  const worker = async (customerId: string | undefined) => {
    while (sent < messages) {
      sent++;
      await producer.send({ ...payload, customerId: customerId ?? "" });
    }
  };
  await Promise.all(keys.map((key) => worker(keyed ? key : undefined)));
  await bus.close();
}

async function consume(messages: number, keyed: boolean): Promise<void> {
  const orders = topic("orders", { codec, ...(keyed ? { key: (order: typeof payload) => order.customerId } : {}) });
  const bus = await connect(nullDriver({ messages, body, keys: keyed ? keys : undefined }));
  let handled = 0;
  await new Promise<void>((resolve, reject) => {
    const handler = async () => {
      if (++handled === messages) resolve();
    };
    bus.subscribe(orders, { group: "billing", concurrency: 100, window: 1000 }, handler).catch(reject);
  });
  await bus.close();
}

async function measure(messages: number, run: (messages: number) => Promise<void>): Promise<Figure> {
  const profiler = new GCProfiler();
  profiler.start();
  const usedBefore = process.memoryUsage().heapUsed;
  const before = process.hrtime.bigint();
  const processorBefore = process.cpuUsage();
  await run(messages);
  const nanoseconds = Number(process.hrtime.bigint() - before);
  const { user, system } = process.cpuUsage(processorBefore);
  const bytes = allocated(usedBefore, profiler.stop()?.statistics ?? [], process.memoryUsage().heapUsed);
  return {
    microseconds: nanoseconds / 1000 / messages,
    processor: (user + system) / messages,
    bytes: bytes / messages,
  };
}

interface Collection {
  readonly beforeGC: { readonly heapStatistics: { readonly usedHeapSize: number } };
  readonly afterGC: { readonly heapStatistics: { readonly usedHeapSize: number } };
}

/** What was allocated between two points: the growth before each collection, and after the last one. */
function allocated(usedBefore: number, collections: readonly Collection[], usedAfter: number): number {
  let total = 0;
  let used = usedBefore;
  for (const { beforeGC, afterGC } of collections) {
    total += Math.max(0, beforeGC.heapStatistics.usedHeapSize - used);
    used = afterGC.heapStatistics.usedHeapSize;
  }
  return total + Math.max(0, usedAfter - used);
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(`${help}\n`);
  const [messages, runs] = [Number(values.messages), Number(values.runs)];
  const kinds = {
    "publish, no key": (count: number) => publish(count, false),
    "publish, 1,000 keys": (count: number) => publish(count, true),
    "consume, no key": (count: number) => consume(count, false),
    "consume, 1,000 keys": (count: number) => consume(count, true),
  };
  const table: Record<string, Readonly<Record<string, number>>> = {};
  for (const [name, run] of Object.entries(kinds)) {
    await run(messages / 10);
    const figures: Figure[] = [];
    for (let index = 0; index < runs; index++) figures.push(await measure(messages, run));
    const cost = median(figures.map((figure) => figure.microseconds));
    table[name] = {
      "µs/message": Number(cost.toFixed(2)),
      "CPU µs/message": Number(median(figures.map((figure) => figure.processor)).toFixed(2)),
      "messages/s": Math.round(1e6 / cost),
      "bytes/message": Math.round(median(figures.map((figure) => figure.bytes))),
    };
  }
  if (values.json) process.stdout.write(`${JSON.stringify(table, null, 2)}\n`);
  else console.table(table);
}

await main();
