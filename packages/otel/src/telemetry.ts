import {
  type Attributes,
  type Context as OtelContext,
  context as otelContext,
  diag,
  type Span,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { type Context, nodeRuntime } from "@sluice/core";
import type { Limits, Runtime } from "@sluice/core/driver";
import { errorType, schemaUrl, withOlderNames } from "./conventions.ts";
import type { Metrics } from "./metrics.ts";
import type { Places } from "./places.ts";

/** What is known of a message that reached a handler here. */
export interface Handled {
  /** Its own, or that of its batch. */
  span: OtelContext | undefined;
  /** Each is counted once, however often its handler runs. */
  counted: boolean;
}

/** What the middleware and the driver's wrapper of one bus share. */
export interface Parts {
  /** `name` of the driver. */
  readonly driver: string;
  readonly places: Places;
  readonly metrics: Metrics;
  readonly dup: boolean;
  readonly parent: "creation" | "link";
  readonly createSpans: boolean;
  readonly tracer: Tracer;
  readonly handled: WeakMap<Context, Handled>;
  /** Of the connection: known before anything is sent or handled. */
  runtime: Runtime;
  limits: Limits | undefined;
}

export function newParts(given: Omit<Parts, "tracer" | "handled" | "runtime" | "limits">): Parts {
  return {
    ...given,
    // A proxy: it works from the moment that an SDK is registered.
    tracer: trace.getTracerProvider().getTracer("@sluice/otel", undefined, { schemaUrl }),
    handled: new WeakMap(),
    runtime: nodeRuntime,
    limits: undefined,
  };
}

/** Whether an SDK is registered that would take spans or metrics. */
export function isObserved(parts: Parts): boolean {
  if (parts.metrics.instruments) return true;
  const provider = trace.getTracerProvider();
  // n.b. the proxy that stands in for a provider knows none until there is one; a provider of another kind is a real one.
  if (!("getDelegateTracer" in provider) || typeof provider.getDelegateTracer !== "function") return true;
  return provider.getDelegateTracer("@sluice/otel") !== undefined;
}

/** What a span says, in the names that are asked for. */
export function spanAttributes({ dup }: Parts, attributes: Attributes): Attributes {
  return dup ? withOlderNames(attributes) : attributes;
}

/** What came of an operation. */
export type Ending<T> =
  | { readonly value: T; readonly failed?: undefined }
  | { readonly failed: true; readonly error: unknown };

/** An operation under way: `context` is active inside, `end` is called once. */
export interface Operation<T> {
  readonly context: OtelContext;
  end(ending: Ending<T>): void;
}

/** Messages never fail for their telemetry: what an SDK throws stays here. */
export function guarded<T>(otherwise: T, run: () => T): T {
  try {
    return run();
  } catch (error) {
    tell(error);
    return otherwise;
  }
}

/** Runs something inside of an operation. n.b. once per message: what is needed for each is an argument, and no closure. */
export async function within<S, T>(begin: (subject: S) => Operation<T>, subject: S, run: () => Promise<T>): Promise<T> {
  let operation: Operation<T>;
  try {
    operation = begin(subject);
  } catch (error) {
    tell(error);
    return run();
  }
  let value: T;
  try {
    value = await otelContext.with(operation.context, run);
  } catch (error) {
    finish(operation, { failed: true, error });
    throw error;
  }
  finish(operation, { value });
  return value;
}

function finish<T>(operation: Operation<T>, ending: Ending<T>): void {
  try {
    operation.end(ending);
  } catch (error) {
    tell(error);
  }
}

function tell(error: unknown): void {
  diag.error("@sluice/otel: telemetry failed", error);
}

/** The record of a message; an empty one, if it has none yet. */
export function handledOf({ handled }: Parts, context: Context): Handled {
  const known = handled.get(context);
  if (known) return known;
  const fresh: Handled = { span: undefined, counted: false };
  handled.set(context, fresh);
  return fresh;
}

/** Ends a span: an error is said once, as status and type; success says nothing. */
export function endSpan(span: Span, ending: Ending<unknown>): void {
  if (ending.failed) {
    span.setAttribute("error.type", errorType(ending.error));
    span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(ending.error) });
  }
  span.end();
}

/** The same type on the metrics of an operation. */
export function withError(attributes: Attributes, ending: Ending<unknown>): Attributes {
  return ending.failed ? { ...attributes, "error.type": errorType(ending.error) } : attributes;
}

function messageOf(error: unknown): string {
  if (typeof error === "string") return error;
  return error instanceof Error && typeof error.message === "string" ? error.message : "";
}
