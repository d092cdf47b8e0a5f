import {
  type Context as OtelContext,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  type SpanContext,
  type TextMapGetter,
  type TextMapSetter,
  trace,
} from "@opentelemetry/api";
import { type Draft, deadLetterHeaders } from "@sluice/core";
import type { Headers, Limits } from "@sluice/core/driver";
import { viewOf } from "./view.ts";

type ReadHeaders = Readonly<Headers>;

/** W3C's limit for baggage. n.b. the SDK's reader of a longer one takes a third of a second for a megabyte of members that are none. */
const longestValue = 8_192;

const getter: TextMapGetter<ReadHeaders> = {
  keys: (headers) => Object.keys(headers),
  get(headers, name) {
    const value = headers[name] ?? headers[name.toLowerCase()];
    return value !== undefined && value.length > longestValue ? undefined : value;
  },
};

type Written = [name: string, value: string][];

const setter: TextMapSetter<Written> = {
  set(written, name, value) {
    written.push([name, value]);
  },
};

/**
 * Where the trace of a message is. n.b. Google's own client writes its trace under a prefix of the service's, which the driver does not
 * show as headers. A plain one comes first.
 */
export function carrierOf(driver: string, headers: ReadHeaders, native: unknown): ReadHeaders {
  if (driver !== "google-pubsub" || headers["traceparent"] !== undefined) return headers;
  const { googclient_traceparent: traceparent, googclient_tracestate: tracestate } = viewOf(
    viewOf(native)["attributes"],
  );
  if (typeof traceparent !== "string") return headers;
  return { ...headers, traceparent, ...(typeof tracestate === "string" && { tracestate }) };
}

/** The trace and the baggage that came with a message. Anybody may have written them: what cannot be read is not there. */
export function extract(headers: ReadHeaders): OtelContext {
  try {
    return propagation.extract(ROOT_CONTEXT, headers, getter);
  } catch {
    return ROOT_CONTEXT;
  }
}

/** Where a message was made: the span in its headers. */
export function creationOf(context: OtelContext): SpanContext | undefined {
  const creation = trace.getSpanContext(context);
  return creation && isSpanContextValid(creation) ? creation : undefined;
}

/** The first one's, where something on the way to the dead letters wrote another into the message. */
export function firstOf(headers: ReadHeaders): SpanContext | undefined {
  const traceparent = headers[deadLetterHeaders.originalTraceparent];
  if (traceparent === undefined || traceparent === headers["traceparent"]) return undefined;
  return creationOf(extract({ traceparent }));
}

/** A trace that the caller of a publish put into the message: it stays. What core handed on from the cause is none. */
export function givenBy({ headers, cause }: Draft): SpanContext | undefined {
  for (const name of propagation.fields()) {
    if (name === "baggage" || headers[name] === undefined) continue;
    if (headers[name] !== cause?.message.headers[name]) return creationOf(extract(headers));
  }
  return undefined;
}

/** Writes trace and baggage into a message, over what core handed on from its cause. Baggage that the caller gave stays. */
export function inject(context: OtelContext, { headers, cause }: Draft, limits: Limits | undefined): void {
  const fresh: Written = [];
  propagation.inject(context, fresh, setter);
  // Tracing is suppressed, or nothing propagates: what came along goes on as it is.
  if (fresh.length === 0) return;
  const before = cause?.message.headers;
  if (before) forget(headers, before);
  for (const [name, value] of fresh) {
    const given = name === "baggage" && headers[name] !== undefined;
    if (!given) headers[name] = value;
  }
  if (limits && fresh.length > 1) fit(headers, limits);
}

/** Takes out what core handed on, and nobody changed. */
function forget(headers: Headers, before: ReadHeaders): void {
  for (const name of propagation.fields()) {
    if (headers[name] !== undefined && headers[name] === before[name]) delete headers[name];
  }
}

/** Room for what core and the driver still add. */
const kept = 4;

/** A message must not fail for its trace: baggage goes first, then the vendors' state, never the trace itself. */
function fit(headers: Headers, limits: Limits): void {
  for (const name of ["baggage", "tracestate"]) {
    const names = Object.keys(headers);
    const bytes = names.reduce((sum, each) => sum + each.length + Buffer.byteLength(headers[each] ?? ""), 0);
    if (names.length + kept <= limits.headers && bytes + kept * 64 <= limits.headersBytes) return;
    delete headers[name];
  }
}
