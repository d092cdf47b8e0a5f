// A trace as a tree, with times: when each span began after the first, how long it took, and where that is on the way.
import { type HrTime, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";

const width = 32;

interface Row {
  readonly title: string;
  readonly span: ReadableSpan;
}

export function draw(spans: readonly ReadableSpan[]): string {
  if (spans.length === 0) return "no spans\n";
  const beginMs = Math.min(...spans.map(({ startTime }) => milliseconds(startTime)));
  const totalMs = Math.max(...spans.map(({ endTime }) => milliseconds(endTime))) - beginMs;
  const ids = new Set(spans.map((span) => span.spanContext().spanId));
  const roots = spans.filter(({ parentSpanContext }) => !ids.has(parentSpanContext?.spanId ?? ""));
  const rows = inOrder(roots).flatMap((root) => rowsOf(root, spans, "", ""));
  const longest = Math.max(...rows.map(({ title }) => title.length));
  const lines = rows.map(({ title, span }) => {
    const fromMs = milliseconds(span.startTime) - beginMs;
    const tookMs = milliseconds(span.endTime) - beginMs - fromMs;
    const system = span.attributes["messaging.system.name"] ?? "";
    const times = `${fromMs.toFixed(1).padStart(8)} ${tookMs.toFixed(1).padStart(8)}`;
    return `${title.padEnd(longest)} ${times}  ${bar(fromMs, tookMs, totalMs)} ${notes(span, String(system))}`.trimEnd();
  });
  const head = `${`trace ${roots[0]?.spanContext().traceId}`.padEnd(longest)}  from ms  took ms`;
  return `${[head, ...lines].join("\n")}\n`;
}

function rowsOf(span: ReadableSpan, all: readonly ReadableSpan[], before: string, below: string): readonly Row[] {
  const children = inOrder(
    all.filter(({ parentSpanContext }) => parentSpanContext?.spanId === span.spanContext().spanId),
  );
  const rows = children.flatMap((child, index) => {
    const last = index === children.length - 1;
    return rowsOf(child, all, `${below}${last ? "└ " : "├ "}`, `${below}${last ? "  " : "│ "}`);
  });
  return [{ title: `${before}${span.name}`, span }, ...rows];
}

function inOrder(spans: readonly ReadableSpan[]): readonly ReadableSpan[] {
  return spans.toSorted((one, other) => milliseconds(one.startTime) - milliseconds(other.startTime));
}

function bar(fromMs: number, tookMs: number, totalMs: number): string {
  const cell = totalMs / width || 1;
  const from = Math.min(width - 1, Math.floor(fromMs / cell));
  const cells = Math.max(1, Math.min(width - from, Math.round(tookMs / cell)));
  return `${"·".repeat(from)}${"▇".repeat(cells)}${"·".repeat(width - from - cells)}`;
}

function notes(span: ReadableSpan, system: string): string {
  const { attributes, kind, status } = span;
  const group = attributes["messaging.consumer.group.name"];
  const move = attributes["sluice.move"];
  const attempt = attributes["sluice.attempt"];
  const redrives = attributes["sluice.redrives"];
  return [
    system === "" ? SpanKind[kind].toLowerCase() : system,
    ...(typeof group === "string" ? [group] : []),
    ...(typeof move === "string" ? [move] : []),
    ...(typeof attempt === "number" ? [`attempt ${attempt}`] : []),
    ...(typeof redrives === "number" ? ["after a redrive"] : []),
    ...(status.code === SpanStatusCode.ERROR ? [`failed: ${String(attributes["error.type"] ?? "")}`] : []),
  ].join(", ");
}

function milliseconds([seconds, nanoseconds]: HrTime): number {
  return seconds * 1000 + nanoseconds / 1e6;
}
