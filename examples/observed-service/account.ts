// What has to be true of the trace of an order, whatever the brokers are called.
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";

const text = (span: ReadableSpan, name: string): string | undefined => {
  const value = span.attributes[name];
  return value === undefined ? undefined : String(value);
};

/** The request, and the groups on the way from it to the first span for which `isLast` is true. */
export function wayTo(spans: readonly ReadableSpan[], isLast: (span: ReadableSpan) => boolean): readonly string[] {
  const byId = new Map(spans.map((span) => [span.spanContext().spanId, span]));
  const way: string[] = [];
  let span = spans.find(isLast);
  while (span) {
    const parent: ReadableSpan | undefined = byId.get(span.parentSpanContext?.spanId ?? "");
    if (text(span, "messaging.operation.type") === "process") way.unshift(groupOf(span));
    else if (!parent) way.unshift(span.name);
    span = parent;
  }
  return way;
}

export function groupOf(span: ReadableSpan): string {
  return text(span, "messaging.consumer.group.name") ?? "";
}

/** What happened beside the way: copies that were made of messages, and runs after the first. */
export function events(spans: readonly ReadableSpan[]): readonly string[] {
  return spans
    .flatMap((span) => {
      const move = text(span, "sluice.move");
      const reason = text(span, "sluice.dead_letter.reason");
      if (move !== undefined) return [`${move} of ${groupOf(span)}${reason === undefined ? "" : ` (${reason})`}`];
      const redrives = text(span, "sluice.redrives");
      if (redrives !== undefined) return [`${groupOf(span)} runs after a redrive`];
      const attempt = text(span, "sluice.attempt");
      return attempt === undefined ? [] : [`${groupOf(span)} runs for the ${attempt}nd time`];
    })
    .toSorted();
}
