import {
  type Attributes,
  type Context as OtelContext,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  trace,
} from "@opentelemetry/api";
import type { AttemptMiddleware, BatchAnswer, BatchItem, BatchMiddleware, Context, Outcome } from "@sluice/core";
import { detailsOf, type Place } from "./places.ts";
import { creationOf, extract, firstOf } from "./propagation.ts";
import { type Ending, endSpan, type Operation, type Parts, spanAttributes, withError, within } from "./telemetry.ts";

/** A `process` span around each run of a handler. Messages of a batch have theirs together: see {@link handlingBatches}. */
export function handling(parts: Parts): AttemptMiddleware {
  return function otelProcess(context, next) {
    const begin = () => {
      const place = parts.places.handling(context.message.topic, context.group);
      const operation = context.batch ? inBatch : one(parts, place, context);
      count(parts, place, context);
      return {
        context: operation.context,
        end(ending: Ending<void | Outcome>) {
          place.inFlight--;
          operation.end(ending);
        },
      };
    };
    return within<void | Outcome>(begin, next);
  };
}

/** One `process` span per call of a batch handler, of no trace but its own, that links to every message. */
export function handlingBatches(parts: Parts): BatchMiddleware {
  return function otelBatch(items, next) {
    return within<BatchAnswer>(() => many(parts, items), next);
  };
}

const inBatch: Operation<void | Outcome> = { context: ROOT_CONTEXT, end: () => undefined };

function one(parts: Parts, place: Place, context: Context): Operation<void | Outcome> {
  const { message } = context;
  const origin = extract(message.headers);
  const creation = creationOf(origin);
  const attributes = messageAttributes(parts.driver, place.span, context);
  const destination = attributes["messaging.destination.name"];
  const span = parts.tracer.startSpan(
    `${parts.places.words.process} ${typeof destination === "string" ? destination : place.destination}`,
    {
      kind: SpanKind.CONSUMER,
      attributes: spanAttributes(parts, attributes),
      links: linksOf(message.headers, creation),
    },
    // n.b. never what is active: handlers start in whatever moment a message arrives, which may be inside of somebody else's span.
    creation && parts.parent === "creation" ? origin : trace.deleteSpan(origin),
  );
  const inner = trace.setSpan(origin, span);
  parts.handling.set(context, inner);
  const startedMs = parts.runtime.monotonicMs();
  return {
    context: inner,
    end(ending) {
      if (!ending.failed && ending.value) span.setAttribute("sluice.outcome", ending.value.kind);
      finish(parts, place, span, ending, startedMs);
    },
  };
}

function many(parts: Parts, items: readonly BatchItem<unknown>[]): Operation<BatchAnswer> {
  const [first] = items;
  if (!first) throw new TypeError("a batch has at least one message");
  const place = parts.places.handling(first.message.topic, first.context.group);
  const span = parts.tracer.startSpan(
    `${parts.places.words.process} ${place.destination}`,
    {
      kind: SpanKind.CONSUMER,
      attributes: spanAttributes(parts, { ...place.span, "messaging.batch.message_count": items.length }),
      links: items.flatMap(({ context }) => itemLinks(parts, context)),
    },
    ROOT_CONTEXT,
  );
  const inner = trace.setSpan(ROOT_CONTEXT, span);
  for (const { context, message } of items) {
    // The message's own baggage goes on with what is published because of it.
    parts.handling.set(context, trace.setSpan(extract(message.headers), span));
  }
  const startedMs = parts.runtime.monotonicMs();
  return { context: inner, end: (ending) => finish(parts, place, span, ending, startedMs) };
}

function itemLinks(parts: Parts, context: Context): readonly Link[] {
  const { headers } = context.message;
  const attributes = messageAttributes(parts.driver, {}, context);
  const all = spanAttributes(parts, attributes);
  return linksOf(headers, creationOf(extract(headers))).map((link) => ({ ...link, attributes: all }));
}

/** To where the message was made; and to where it was made first, where those are two. */
function linksOf(headers: Context["message"]["headers"], creation: Link["context"] | undefined): Link[] {
  const first = firstOf(headers);
  const links = creation ? [{ context: creation }] : [];
  return first ? [...links, { context: first }] : links;
}

function messageAttributes(driver: string, common: Attributes, context: Context): Attributes {
  const { id, headers, attempt, redrives } = context.message;
  const attributes: Attributes = { ...common, "messaging.message.id": id };
  const conversation = headers["correlation-id"];
  if (conversation !== undefined) attributes["messaging.message.conversation_id"] = conversation;
  if (attempt > 1) attributes["sluice.attempt"] = attempt;
  if (redrives > 0) attributes["sluice.redrives"] = redrives;
  return Object.assign(attributes, detailsOf(driver, context));
}

function finish(parts: Parts, { metric }: Place, span: Span, ending: Ending<unknown>, startedMs: number): void {
  endSpan(span, ending);
  const duration = (parts.runtime.monotonicMs() - startedMs) / 1000;
  parts.metrics.instruments?.process.record(duration, withError(metric, ending));
}

function count({ metrics, seen }: Parts, place: Place, context: Context): void {
  const { instruments } = metrics;
  if (!seen.has(context)) {
    seen.add(context);
    instruments?.consumed.add(1, place.metric);
  }
  if (context.message.attempt > 1) instruments?.retries.add(1, place.metric);
  place.inFlight++;
}

/** The span of a message for code that runs outside of its handler, such as a loop over a consumer. */
export function contextOf({ handling }: Parts, context: Context): OtelContext {
  return handling.get(context) ?? extract(context.message.headers);
}
