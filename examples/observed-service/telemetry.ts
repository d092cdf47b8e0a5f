// The SDK, registered for the whole process: spans are kept in memory to be drawn, metrics wait for Prometheus.
import type { IncomingMessage, ServerResponse } from "node:http";
import { context, metrics, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

/** Spans that are kept; older ones go. A service exports them instead. */
const mostSpans = 10_000;
const spans: ReadableSpan[] = [];

const spanProcessor = new SimpleSpanProcessor({
  export(ended, done) {
    spans.push(...ended);
    if (spans.length > mostSpans) spans.splice(0, spans.length - mostSpans);
    done({ code: 0 });
  },
  shutdown: () => Promise.resolve(),
});
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [spanProcessor] }));
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(
  new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
);
// It has a server of its own, on port 9464; here the service's server answers.
const prometheus = new PrometheusExporter({ preventServerStart: true });
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [prometheus] }));

/** What is known of a trace by now. */
export function spansOf(traceId: string): readonly ReadableSpan[] {
  return spans.filter((span) => span.spanContext().traceId === traceId);
}

export function answerMetrics(request: IncomingMessage, response: ServerResponse): void {
  prometheus.getMetricsRequestHandler(request, response);
}
