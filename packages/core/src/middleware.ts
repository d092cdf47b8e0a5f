import type { WireMessage } from "./codec.ts";
import type { BatchAnswer, BatchItem } from "./consume/batch.ts";
import type { Context } from "./context.ts";
import type { Headers, Key } from "./driver/index.ts";
import type { Outcome } from "./outcome.ts";
import type { AnyTopic } from "./topic.ts";

/** A message on its way out; a publish middleware may change headers and key before `next`. */
export interface Draft {
  readonly topic: AnyTopic;
  readonly id: string;
  key: Key;
  readonly headers: Headers;
  readonly payload: unknown;
  /** The delivery whose handler publishes through `context.publish`. */
  readonly cause: Context | undefined;
  /** The `sendBatch` that it is part of; the same object for all of its messages. */
  readonly batch: DraftBatch | undefined;
}

/** One call of `sendBatch`. */
export interface DraftBatch {
  /** Messages of the call, those included that fail before any middleware sees them. */
  readonly size: number;
  /** Resolves when each of them has its result. */
  readonly settled: Promise<unknown>;
}

/** Around one publish: resolves when the broker confirmed, rejects with the publish's error. */
export type PublishMiddleware = (draft: Draft, next: () => Promise<void>) => Promise<void>;

/** Around all attempts of one delivered message in this process: trace, deduplicate. Returning without `next` = done. */
export type DeliveryMiddleware = (context: Context, next: () => Promise<void | Outcome>) => Promise<void | Outcome>;

/** Around one run of the handler: time-out, transaction. */
export type AttemptMiddleware = (context: Context, next: () => Promise<void | Outcome>) => Promise<void | Outcome>;

/** Around one call of a batch handler; each of its messages has its attempt middleware around it, too, and waits there. */
export type BatchMiddleware = (
  items: readonly BatchItem<unknown>[],
  next: () => Promise<BatchAnswer>,
) => Promise<BatchAnswer>;

/**
 * What is done to the bytes and headers of every message between the codec and the broker: compress, encrypt, wrap. Retries, dead
 * letters and redrives move the bytes as they are on the wire; `incoming` runs before each attempt. Errors are those of a codec.
 */
export interface WireMiddleware {
  readonly name: string;
  /** After the codec, in the order of the list. */
  outgoing?(message: WireMessage): void | Promise<void>;
  /** Before the codec, in the opposite order. */
  incoming?(message: WireMessage, context: Context): void | Promise<void>;
}

/** The scopes: the four around something, outermost first, and what is done to bytes. */
export interface Middleware {
  readonly publish?: readonly PublishMiddleware[];
  readonly delivery?: readonly DeliveryMiddleware[];
  readonly attempt?: readonly AttemptMiddleware[];
  readonly batch?: readonly BatchMiddleware[];
  readonly wire?: readonly WireMiddleware[];
}

/**
 * One function out of many, outermost first.
 * @throws the chain rejects when a middleware calls `next` twice
 */
export function compose<Subject, Result>(
  middleware: readonly ((subject: Subject, next: () => Promise<Result>) => Promise<Result>)[],
  last: (subject: Subject) => Result | Promise<Result>,
): (subject: Subject) => Promise<Result> {
  return middleware.reduceRight<(subject: Subject) => Promise<Result>>(
    (next, current) => (subject) => {
      let called = false;
      return current(subject, async () => {
        if (called) throw new Error(`middleware ${current.name || "(anonymous)"} called next() twice`);
        called = true;
        return next(subject);
      });
    },
    async (subject) => last(subject),
  );
}
