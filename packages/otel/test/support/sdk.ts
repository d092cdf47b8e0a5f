import { context, metrics, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanProcessor,
} from "@opentelemetry/sdk-trace-base";

/** A span, as a golden example has it: its relatives by their names. */
export interface Seen {
  readonly name: string;
  readonly kind: string;
  readonly parent: string | undefined;
  readonly links: readonly { readonly to: string; readonly attributes?: object }[];
  readonly attributes: object;
  readonly error?: string | undefined;
}

export interface Point {
  readonly value: unknown;
  readonly attributes: object;
}

export interface Sdk {
  /** Spans that have ended since `reset`, in the order of their beginning. */
  spans(): Seen[];
  /** The same as the SDK has them. */
  finished(): readonly ReadableSpan[];
  reset(): void;
  /** From now on a span processor throws. */
  fail(when: "begin" | "end"): void;
  /** Data points by the name of their metric. */
  points(): Promise<Readonly<Record<string, readonly Point[]>>>;
}

/** The real SDK, registered for the whole process as a service does it. */
export function registerSdk(options: { readonly withMetrics?: boolean } = {}): Sdk {
  const exporter = new InMemorySpanExporter();
  let failing: "begin" | "end" | undefined;
  // Spans that begin within one tick of the clock have the same time.
  const order = new Map<string, number>();
  const begins: SpanProcessor = {
    onStart: (span) => {
      if (failing === "begin") throw new Error("the processor is broken");
      order.set(span.spanContext().spanId, order.size);
    },
    onEnd: () => {
      if (failing === "end") throw new Error("the processor is broken");
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
  const spanProcessors = [begins, new SimpleSpanProcessor(exporter)];
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(
    new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
  );
  const collected = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: collected, exportIntervalMillis: 3_600_000 });
  if (options.withMetrics) metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
  const at = (span: ReadableSpan) => order.get(span.spanContext().spanId) ?? -1;
  const finished = () => exporter.getFinishedSpans().toSorted((one, other) => at(one) - at(other));
  const names = () => new Map(finished().map((span) => [span.spanContext().spanId, span.name]));
  return {
    spans: () => finished().map((span) => show(span, names())),
    finished,
    reset: () => {
      failing = undefined;
      exporter.reset();
    },
    fail: (when) => void (failing = when),
    async points() {
      await reader.forceFlush();
      const all =
        collected
          .getMetrics()
          .at(-1)
          ?.scopeMetrics.flatMap((scope) => scope.metrics) ?? [];
      return Object.fromEntries(
        all.map(({ descriptor, dataPoints }) => [
          descriptor.name,
          dataPoints.map(({ value, attributes }) => ({ value, attributes })),
        ]),
      );
    },
  };
}

function show(span: ReadableSpan, names: ReadonlyMap<string, string>): Seen {
  const named = (id: string) => names.get(id) ?? id;
  const parent = span.parentSpanContext?.spanId;
  return {
    name: span.name,
    kind: SpanKind[span.kind],
    parent: parent === undefined ? undefined : named(parent),
    links: span.links.map((link) => ({
      to: named(link.context.spanId),
      ...(link.attributes && Object.keys(link.attributes).length > 0 && { attributes: link.attributes }),
    })),
    attributes: span.attributes,
    ...(span.status.code === SpanStatusCode.ERROR && { error: span.status.message }),
  };
}
