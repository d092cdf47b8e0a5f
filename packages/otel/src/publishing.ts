import {
  type Attributes,
  type Context as OtelContext,
  context as otelContext,
  type Link,
  type Span,
  type SpanContext,
  SpanKind,
  trace,
} from "@opentelemetry/api";
import type { Draft, DraftBatch, PublishMiddleware } from "@sluice/core";
import { addKey, type Place } from "./places.ts";
import { givenBy, inject } from "./propagation.ts";
import {
  type Ending,
  endSpan,
  guarded,
  type Operation,
  type Parts,
  spanAttributes,
  withError,
  within,
} from "./telemetry.ts";

interface Batch {
  readonly span: Span;
  /** The first message's; the batch tells it. */
  failure: Ending<void> | undefined;
}

/** A `send` span per message; for `sendBatch` a `create` span per message and one `send` span that links to them. */
export function publishing(parts: Parts): PublishMiddleware {
  const batches = new WeakMap<DraftBatch, Batch>();
  const begin = (draft: Draft): Operation<void> => {
    const place = parts.places.sending(draft.topic);
    return draft.batch ? inBatch(parts, batches, draft, draft.batch, place) : alone(parts, draft, place);
  };
  return function otelSend(draft, next) {
    return within(begin, draft, next);
  };
}

/** One message on its way. */
class Sending implements Operation<void> {
  readonly #parts: Parts;
  readonly #place: Place;
  readonly #span: Span;
  readonly #startedMs: number;
  readonly context: OtelContext;

  constructor(parts: Parts, place: Place, span: Span, context: OtelContext) {
    this.#parts = parts;
    this.#place = place;
    this.#span = span;
    this.context = context;
    this.#startedMs = parts.runtime.monotonicMs();
  }

  end(ending: Ending<void>): void {
    endSpan(this.#span, ending);
    count(this.#parts, this.#place, ending);
    record(this.#parts, this.#place, ending, this.#startedMs);
  }
}

const noLinks: Link[] = [];

function alone(parts: Parts, draft: Draft, place: Place): Operation<void> {
  const parent = parentOf(parts, draft);
  const given = givenBy(draft);
  const span = parts.tracer.startSpan(
    place.name,
    {
      kind: given ? SpanKind.CLIENT : SpanKind.PRODUCER,
      attributes: messageAttributes(parts, place.span, draft),
      links: given ? [{ context: given }] : noLinks,
    },
    parent,
  );
  const context = trace.setSpan(parent, span);
  if (!given) inject(context, draft, parts.limits);
  return new Sending(parts, place, span, context);
}

function inBatch(
  parts: Parts,
  batches: WeakMap<DraftBatch, Batch>,
  draft: Draft,
  call: DraftBatch,
  place: Place,
): Operation<void> {
  const parent = parentOf(parts, draft);
  let batch = batches.get(call);
  if (!batch) {
    batch = beginBatch(parts, call, place, parent);
    batches.set(call, batch);
  }
  const { span } = batch;
  const context = trace.setSpan(parent, span);
  const given = givenBy(draft);
  const creation = given ?? (parts.createSpans ? create(parts, draft, place, parent) : undefined);
  if (creation) span.addLink({ context: creation });
  if (!given) inject(creation ? trace.setSpanContext(parent, creation) : context, draft, parts.limits);
  const known = batch;
  return {
    context,
    end(ending) {
      if (ending.failed) known.failure ??= ending;
      count(parts, place, ending);
    },
  };
}

function beginBatch(parts: Parts, { size, settled }: DraftBatch, place: Place, parent: OtelContext): Batch {
  const span = parts.tracer.startSpan(
    place.name,
    {
      // Its context is in the messages only where they have none of their own.
      kind: parts.createSpans ? SpanKind.CLIENT : SpanKind.PRODUCER,
      attributes: spanAttributes(parts, { ...place.span, "messaging.batch.message_count": size }),
    },
    parent,
  );
  const batch: Batch = { span, failure: undefined };
  const startedMs = parts.runtime.monotonicMs();
  const end = () => {
    const ending = batch.failure ?? { value: undefined };
    endSpan(span, ending);
    record(parts, place, ending, startedMs);
  };
  void settled.then(() => guarded(undefined, end));
  return batch;
}

/** The span that a message of a batch carries. It is over at once: what takes time is the sending. */
function create(parts: Parts, draft: Draft, place: Place, parent: OtelContext): SpanContext {
  const verb = { "messaging.operation.name": "create", "messaging.operation.type": "create" };
  const span = parts.tracer.startSpan(
    `create ${place.destination}`,
    {
      kind: SpanKind.PRODUCER,
      attributes: messageAttributes(parts, { ...place.span, ...verb }, draft),
    },
    parent,
  );
  span.end();
  return span.spanContext();
}

/** What is active; without a context manager, or outside of a handler, the span of the message that is the cause. */
function parentOf({ handled }: Parts, { cause }: Draft): OtelContext {
  const active = otelContext.active();
  return (cause && !trace.getSpan(active) && handled.get(cause)?.span) || active;
}

function messageAttributes(parts: Parts, common: Attributes, { id, key, headers }: Draft): Attributes {
  const attributes: Attributes = { ...common, "messaging.message.id": id };
  const conversation = headers["correlation-id"];
  if (conversation !== undefined) attributes["messaging.message.conversation_id"] = conversation;
  addKey(attributes, parts.driver, key);
  return spanAttributes(parts, attributes);
}

function count({ metrics }: Parts, { metric }: Place, ending: Ending<void>): void {
  metrics.instruments?.sent.add(1, withError(metric, ending));
}

function record({ metrics, runtime }: Parts, { operation }: Place, ending: Ending<void>, startedMs: number): void {
  metrics.instruments?.operation.record((runtime.monotonicMs() - startedMs) / 1000, withError(operation, ending));
}
