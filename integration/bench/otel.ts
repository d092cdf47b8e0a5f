import { context, metrics, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from "@opentelemetry/sdk-trace-base";
import { type Codec, connect, type Middleware, topic } from "@sluice/core";
import type { Driver } from "@sluice/core/driver";
import { otel } from "@sluice/otel";
import { parseArgs } from "node:util";
import { nullDriver } from "./null-driver.ts";

const help = `npm run bench:otel -- [--messages N] [--runs N]

What @sluice/otel costs a message, over a driver that does nothing: publish with 100 in flight, and consume with an empty handler;
without it, with it and no SDK, and with the SDK (spans batched and dropped, metrics kept). Medians, in microseconds of processor time.

  --messages N   messages a run (default 50000)
  --runs N       runs of each kind, after one that warms up (default 5)`;

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "50000" },
    runs: { type: "string", default: "5" },
    help: { type: "boolean", default: false },
  },
});

interface Setup {
  readonly driver: Driver;
  readonly middleware: Middleware;
}

type Around = (driver: Driver) => Setup;

const body = new TextEncoder().encode("{}");
const codec: Codec = { contentType: "application/json", encode: () => body, decode: () => undefined };
const Orders = topic("orders", { codec });

async function publish(messages: number, around: Around): Promise<void> {
  const { driver, middleware } = around(nullDriver({ messages: 0, body, keys: undefined }));
  const bus = await connect(driver, { middleware });
  const producer = bus.producer(Orders);
  let sent = 0;
  const worker = async () => {
    while (sent++ < messages) await producer.send({});
  };
  await Promise.all(Array.from({ length: 100 }, worker));
  await bus.close();
}

async function consume(messages: number, around: Around): Promise<void> {
  const { driver, middleware } = around(nullDriver({ messages, body, keys: undefined }));
  const bus = await connect(driver, { middleware });
  const ended = Promise.withResolvers<void>();
  let handled = 0;
  await bus.subscribe(Orders, { group: "billing", concurrency: 100, window: 1000 }, () => {
    if (++handled === messages) ended.resolve();
  });
  await ended.promise;
  await bus.close();
}

const plain: Around = (driver) => ({ driver, middleware: {} });

async function measure(messages: number, run: (messages: number) => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await run(messages);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / messages;
}

type Row = Record<"publish" | "consume", number>;

/** Turn by turn, so that what else runs on the machine disturbs all alike. */
async function compare(
  messages: number,
  runs: number,
  kinds: Readonly<Record<string, Around>>,
): Promise<Record<string, Row>> {
  const figures: Record<string, Record<"publish" | "consume", number[]>> = {};
  for (let turn = 0; turn <= runs; turn++) {
    for (const [name, around] of Object.entries(kinds)) {
      const row = (figures[name] ??= { publish: [], consume: [] });
      const published = await measure(messages, (count) => publish(count, around));
      const consumed = await measure(messages, (count) => consume(count, around));
      if (turn === 0) continue;
      row.publish.push(published);
      row.consume.push(consumed);
    }
  }
  const rows = Object.entries(figures).map(([name, row]) => [
    name,
    { publish: median(row.publish), consume: median(row.consume) },
  ]);
  return Object.fromEntries(rows);
}

function median(numbers: readonly number[]): number {
  return Number((numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN).toFixed(2));
}

function registerTraces(): void {
  const dropped: SpanExporter = { export: (_spans, done) => done({ code: 0 }), shutdown: () => Promise.resolve() };
  const spanProcessors = [new BatchSpanProcessor(dropped, { maxQueueSize: 100_000 })];
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }));
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
  propagation.setGlobalPropagator(new CompositePropagator({ propagators }));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
}

function registerMetrics(): void {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const readers = [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })];
  metrics.setGlobalMeterProvider(new MeterProvider({ readers }));
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(`${help}\n`);
  const [messages, runs] = [Number(values.messages), Number(values.runs)];
  const without = await compare(messages, runs, { without: plain, "with, no SDK": otel });
  registerTraces();
  const traces = await compare(messages, runs, { "with traces": otel });
  registerMetrics();
  const both = await compare(messages, runs, { "with traces and metrics": otel });
  console.table({ ...without, ...traces, ...both });
}

await main();
