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
import { addDetails, type Place } from "./places.ts";
import { carrierOf, creationOf, extract, firstOf } from "./propagation.ts";
import {
  type Ending,
  endSpan,
  handledOf,
  type Operation,
  type Parts,
  spanAttributes,
  withError,
  within,
} from "./telemetry.ts";

/** A `process` span around each run of a handler. Messages of a batch have theirs together: see {@link handlingBatches}. */
export function handling(parts: Parts): AttemptMiddleware {
  const begin = (context: Context): Run => {
    const place = parts.places.handling(context.message.topic, context.group);
    const run = context.batch ? new Run(parts, place, undefined, ROOT_CONTEXT) : one(parts, place, context);
    count(parts, place, context);
    place.inFlight++;
    return run;
  };
  return function otelProcess(context, next) {
    return within<Context, void | Outcome>(begin, context, next);
  };
}

/** One `process` span per call of a batch handler, of no trace but its own, that links to every message. */
export function handlingBatches(parts: Parts): BatchMiddleware {
  const begin = (items: readonly BatchItem<unknown>[]): Operation<BatchAnswer> => many(parts, items);
  return function otelBatch(items, next) {
    return within(begin, items, next);
  };
}

/** One run of a handler. */
class Run implements Operation<void | Outcome> {
  readonly #parts: Parts;
  readonly #place: Place;
  readonly #span: Span | undefined;
  readonly #startedMs: number;
  readonly context: OtelContext;

  /** @param span none of a message whose batch has one */
  constructor(parts: Parts, place: Place, span: Span | undefined, context: OtelContext) {
    this.#parts = parts;
    this.#place = place;
    this.#span = span;
    this.context = context;
    this.#startedMs = parts.runtime.monotonicMs();
  }

  end(ending: Ending<void | Outcome>): void {
    this.#place.inFlight--;
    const span = this.#span;
    if (!span) return;
    if (!ending.failed && ending.value) span.setAttribute("sluice.outcome", ending.value.kind);
    finish(this.#parts, this.#place, span, ending, this.#startedMs);
  }
}

function one(parts: Parts, place: Place, context: Context): Run {
  const { message } = context;
  const origin = originOf(parts, context);
  const creation = creationOf(origin);
  const attributes = messageAttributes(parts.driver, place.span, context);
  const destination = attributes["messaging.destination.name"];
  const span = parts.tracer.startSpan(
    destination === place.destination ? place.name : `${parts.places.words.process} ${String(destination)}`,
    {
      kind: SpanKind.CONSUMER,
      attributes: spanAttributes(parts, attributes),
      links: linksOf(message.headers, creation),
    },
    // n.b. never what is active: handlers start in whatever moment a message arrives, which may be inside of somebody else's span.
    creation && parts.parent === "link" ? trace.deleteSpan(origin) : origin,
  );
  const inner = trace.setSpan(origin, span);
  handledOf(parts, context).span = inner;
  return new Run(parts, place, span, inner);
}

function many(parts: Parts, items: readonly BatchItem<unknown>[]): Operation<BatchAnswer> {
  const [first] = items;
  if (!first) throw new TypeError("a batch has at least one message");
  const place = parts.places.handling(first.message.topic, first.context.group);
  const span = parts.tracer.startSpan(
    place.name,
    {
      kind: SpanKind.CONSUMER,
      attributes: spanAttributes(parts, { ...place.span, "messaging.batch.message_count": items.length }),
      links: items.flatMap(({ context }) => itemLinks(parts, context)),
    },
    ROOT_CONTEXT,
  );
  const inner = trace.setSpan(ROOT_CONTEXT, span);
  for (const { context } of items) {
    // The message's own baggage goes on with what is published because of it.
    handledOf(parts, context).span = trace.setSpan(originOf(parts, context), span);
  }
  const startedMs = parts.runtime.monotonicMs();
  return { context: inner, end: (ending) => finish(parts, place, span, ending, startedMs) };
}

function itemLinks(parts: Parts, context: Context): readonly Link[] {
  const { headers } = context.message;
  const attributes = messageAttributes(parts.driver, {}, context);
  const all = spanAttributes(parts, attributes);
  return linksOf(headers, creationOf(originOf(parts, context))).map((link) => ({ ...link, attributes: all }));
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
  addDetails(attributes, driver, context);
  return attributes;
}

function finish(parts: Parts, { metric }: Place, span: Span, ending: Ending<unknown>, startedMs: number): void {
  endSpan(span, ending);
  const duration = (parts.runtime.monotonicMs() - startedMs) / 1000;
  parts.metrics.instruments?.process.record(duration, withError(metric, ending));
}

function count(parts: Parts, place: Place, context: Context): void {
  const { instruments } = parts.metrics;
  if (!instruments) return;
  const handled = handledOf(parts, context);
  if (!handled.counted) {
    handled.counted = true;
    instruments.consumed.add(1, place.metric);
  }
  if (context.message.attempt > 1) instruments.retries.add(1, place.metric);
}

/** The span of a message for code that runs outside of its handler, such as a loop over a consumer. */
export function contextOf(parts: Parts, context: Context): OtelContext {
  return parts.handled.get(context)?.span ?? originOf(parts, context);
}

function originOf({ driver }: Parts, { message, native }: Context): OtelContext {
  return extract(carrierOf(driver, message.headers, native));
}
