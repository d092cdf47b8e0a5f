import {
  type Attributes,
  context,
  metrics,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  trace,
} from "@opentelemetry/api";
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
without it, with it and no SDK, and with the SDK (spans batched and dropped, metrics kept). Beside it the SDK by itself: the same span,
headers and data points through its API, without Sluice. Medians, in processor time of a message.

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

/** Per message, in microseconds. */
type Row = Record<"publish" | "consume", number>;

interface Kind {
  readonly publish: (messages: number) => Promise<void>;
  readonly consume: (messages: number) => Promise<void>;
}

function around(wrap: Around): Kind {
  return { publish: (messages) => publish(messages, wrap), consume: (messages) => consume(messages, wrap) };
}

/** Turn by turn, so that what else runs on the machine disturbs all alike. */
async function compare<Name extends string>(
  messages: number,
  runs: number,
  kinds: Readonly<Record<Name, Kind>>,
): Promise<Record<Name, Row>> {
  const names = Object.keys(kinds) as Name[];
  const figures = new Map(names.map((name) => [name, { publish: [] as number[], consume: [] as number[] }]));
  for (let turn = 0; turn <= runs; turn++) {
    for (const name of names) {
      const published = await measure(messages, kinds[name].publish);
      const consumed = await measure(messages, kinds[name].consume);
      if (turn === 0) continue;
      figures.get(name)?.publish.push(published);
      figures.get(name)?.consume.push(consumed);
    }
  }
  const rows = [...figures].map(([name, { publish, consume }]): [string, Row] => [
    name,
    { publish: median(publish), consume: median(consume) },
  ]);
  return Object.fromEntries(rows) as Record<Name, Row>;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
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

const common = {
  "messaging.system.name": "null",
  "messaging.operation.name": "send",
  "messaging.destination.name": "orders",
};
const span = {
  ...common,
  "messaging.operation.type": "send",
  "messaging.client.id": "sluice",
  "messaging.message.id": "m-1",
};
const grouped = { "messaging.consumer.group.name": "billing" };

/** What one message costs in the SDK: nothing of Sluice, and as little around it as can be. */
function bareSdk(): Kind {
  const tracer = trace.getTracer("bare");
  const meter = metrics.getMeter("bare");
  const counter = meter.createCounter("messages");
  const histogram = meter.createHistogram("duration");
  const write = (carrier: Record<string, string>, name: string, value: string) => void (carrier[name] = value);
  const setter = { set: write };
  const getter = {
    keys: (carrier: Record<string, string>) => Object.keys(carrier),
    get: (carrier: Record<string, string>, name: string) => carrier[name],
  };
  const finish = (ended: Span, attributes: Attributes) => {
    ended.end();
    counter.add(1, attributes);
    histogram.record(0.001, attributes);
  };
  return {
    async publish(messages) {
      for (let sent = 0; sent < messages; sent++) {
        const started = tracer.startSpan("send orders", { kind: SpanKind.PRODUCER, attributes: { ...span } });
        const inside = trace.setSpan(ROOT_CONTEXT, started);
        propagation.inject(inside, {}, setter);
        await context.with(inside, nothing);
        finish(started, common);
      }
    },
    async consume(messages) {
      const carrier = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
      for (let handled = 0; handled < messages; handled++) {
        const origin = propagation.extract(ROOT_CONTEXT, carrier, getter);
        const creation = trace.getSpanContext(origin);
        const links = creation ? [{ context: creation }] : [];
        const attributes = { ...span, ...grouped };
        const started = tracer.startSpan("process orders", { kind: SpanKind.CONSUMER, attributes, links }, origin);
        await context.with(trace.setSpan(origin, started), nothing);
        finish(started, { ...common, ...grouped });
      }
    },
  };
}

const nothing = (): Promise<void> => Promise.resolve();

/** Over what a message costs without any of it. */
function over(row: Row, without: Row): Row {
  return { publish: row.publish - without.publish, consume: row.consume - without.consume };
}

function shown({ publish, consume }: Row, unit: "µs" | "ns"): Readonly<Record<string, string>> {
  const text = (value: number) => (unit === "ns" ? `${Math.round(value * 1000)} ns` : `${value.toFixed(1)} µs`);
  return { publish: text(publish), consume: text(consume) };
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(`${help}\n`);
  const [messages, runs] = [Number(values.messages), Number(values.runs)];
  const first = await compare(messages, runs, { without: around(plain), with: around(otel) });
  registerTraces();
  const traces = await compare(messages, runs, { without: around(plain), with: around(otel), bare: bareSdk() });
  registerMetrics();
  const both = await compare(messages, runs, { without: around(plain), with: around(otel), bare: bareSdk() });
  console.table({
    "a message without @sluice/otel": shown(first.without, "µs"),
    "more with it, no SDK": shown(over(first.with, first.without), "ns"),
    "more with traces": shown(over(traces.with, traces.without), "µs"),
    "of these the bare SDK": shown(traces.bare, "µs"),
    "more with traces and metrics": shown(over(both.with, both.without), "µs"),
    "of these the bare SDK, with metrics": shown(both.bare, "µs"),
  });
}

await main();
