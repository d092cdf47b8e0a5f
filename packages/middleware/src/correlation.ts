import { AsyncLocalStorage } from "node:async_hooks";
import { SluiceError } from "@sluice/core";
import type { AttemptMiddleware, Context, Middleware, PublishMiddleware } from "@sluice/core";
import { shown } from "./options.ts";

/** Where a message stands in its flow. */
export interface Correlation {
  /** Names the whole flow: header `correlation-id`, else the message's own id, with which the flow begins. */
  readonly correlationId: string;
  /** Id of the message that directly caused this one: header `causation-id`; `undefined` where nothing did. */
  readonly causationId: string | undefined;
}

export interface CorrelationOptions {
  /**
   * Foreign headers that name the flow where there is no `correlation-id`, such as `x-correlation-id`; the first that is there counts.
   * @default none
   */
  readonly from?: readonly string[];
  /**
   * Whether what a handler publishes otherwise than by `context.publish` belongs to the flow as well: `bus.publish` in a function that
   * it calls. Not in batch handlers, whose messages belong to several flows.
   * @default false
   */
  readonly ambient?: boolean;
}

const correlationHeader = "correlation-id";
const causationHeader = "causation-id";

/** Copied on to every message of a flow, so it must be short, and one line. */
const usable = /^[^\p{Cc}\p{Cs}]{1,256}$/u;

/**
 * The flow of the message at hand. Needs no middleware. A header that is empty, longer than 256 characters or holds control
 * characters is as if it were not there.
 * @param from the same as option `from` of {@link correlation}
 */
export function correlationOf(context: Pick<Context, "message">, from: readonly string[] = []): Correlation {
  const { headers, id } = context.message;
  const given = [correlationHeader, ...from].map((name) => headers[name]).find(isUsable);
  const causationId = headers[causationHeader];
  return { correlationId: given ?? id, causationId: isUsable(causationId) ? causationId : undefined };
}

function isUsable(value: string | undefined): value is string {
  return value !== undefined && usable.test(value);
}

/**
 * Every message carries its flow: one that begins it (published by nobody's handler) gets its own id as `correlation-id`; what a
 * handler publishes gets the flow of its message, and that message's id as `causation-id`. Headers that the caller sets stay. The
 * headers go along through retries, dead letters and redrives; the id of a flow never changes.
 *
 * Core does the middle part by itself for `context.publish`. This adds the first message, foreign names, and `ambient`.
 *
 * @throws SluiceError `CONFIG` when `from` is no list
 */
export function correlation(
  options: CorrelationOptions = {},
): Middleware & { readonly publish: readonly PublishMiddleware[]; readonly attempt: readonly AttemptMiddleware[] } {
  const { from = [], ambient = false } = options;
  if (!Array.isArray(from))
    throw new SluiceError(
      "CONFIG",
      `correlation: from is ${shown(from)}; give a list of names, such as ["x-request-id"]`,
    );
  const current = new AsyncLocalStorage<Context | undefined>();

  const publish: PublishMiddleware = (draft, next) => {
    const { headers } = draft;
    const cause = draft.cause ?? current.getStore();
    // n.b. Core has put the header of the cause here as it came; what differs from that is the caller's own.
    const given = headers[correlationHeader];
    const copied = draft.cause && (draft.cause.message.headers[correlationHeader] ?? draft.cause.message.id);
    if (given === undefined || given === copied) {
      headers[correlationHeader] = cause ? correlationOf(cause, from).correlationId : draft.id;
    }
    if (cause) headers[causationHeader] ??= cause.message.id;
    return next();
  };

  // n.b. Not the delivery scope: a second run in this process begins outside of it.
  const attempt: AttemptMiddleware = (context, next) => current.run(context.batch ? undefined : context, next);

  return { publish: [named("correlation", publish)], attempt: ambient ? [named("correlation", attempt)] : [] };
}

function named<T extends (...parameters: never[]) => unknown>(name: string, run: T): T {
  return Object.defineProperty(run, "name", { value: name });
}
