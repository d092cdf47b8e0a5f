import type { Context } from "../context.ts";
import type { Runtime } from "../driver/index.ts";
import { isUnavailable, SluiceError } from "../errors.ts";
import type { Message } from "../message.ts";
import type { Outcome } from "../outcome.ts";

/** One message of a batch. */
export interface BatchItem<Payload> {
  readonly payload: Payload;
  readonly message: Message;
  readonly context: Context;
}

/** What a batch handler returns: nothing, or one per item. */
export type BatchAnswer = void | readonly (undefined | Outcome | Error)[];

/**
 * Returns nothing (all done), or one outcome per item in the order of the items: `undefined` = done, an Outcome, or an Error.
 * A throw without such an answer is isolated: the batch is split in halves until the items that fail stand alone.
 */
export type BatchHandler<Payload> = (items: readonly BatchItem<Payload>[]) => BatchAnswer | Promise<BatchAnswer>;

interface Entry<Payload> extends BatchItem<Payload> {
  resolve(outcome: void | Outcome): void;
  reject(error: unknown): void;
}

export interface BatcherOptions {
  readonly runtime: Runtime;
  readonly size: number;
  readonly waitMs: number;
}

/** Gathers messages into calls of a batch handler: a full batch goes at once, an incomplete one after `waitMs`. */
export class Batcher<Payload> {
  readonly #options: BatcherOptions;
  readonly #handler: BatchHandler<Payload>;
  #entries: Entry<Payload>[] = [];
  #cancel: (() => void) | undefined;

  constructor(options: BatcherOptions, handler: BatchHandler<Payload>) {
    this.#options = options;
    this.#handler = handler;
  }

  /** The handler under which the batch subscription runs: settles with its item's part of the batch. */
  readonly handle = (payload: Payload, context: Context): Promise<void | Outcome> =>
    new Promise((resolve, reject) => {
      this.#entries.push({ payload, context, message: context.message, resolve, reject });
      if (this.#entries.length >= this.#options.size) this.#flush();
      else this.#cancel ??= this.#options.runtime.timer(this.#options.waitMs, () => this.#flush());
    });

  #flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const entries = this.#entries;
    this.#entries = [];
    const live: Entry<Payload>[] = [];
    for (const entry of entries) {
      if (entry.context.signal.aborted) entry.reject(entry.context.signal.reason);
      else live.push(entry);
    }
    if (live.length > 0) void this.#call(live);
  }

  /** Calls nobody any more. */
  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    rejectAll(this.#entries, new SluiceError("CLOSED", "sluice: the subscription is closed"));
    this.#entries = [];
  }

  async #call(entries: readonly Entry<Payload>[]): Promise<void> {
    let outcomes: BatchAnswer;
    try {
      outcomes = await this.#handler(entries);
    } catch (error) {
      // n.b. What is down for one is down for all: halves would only ask it again and again.
      if (entries.length === 1 || isUnavailable(error)) return rejectAll(entries, error);
      const half = Math.ceil(entries.length / 2);
      await this.#call(entries.slice(0, half));
      return this.#call(entries.slice(half));
    }
    if (outcomes && outcomes.length !== entries.length) {
      const text = `sluice: the batch handler returned ${outcomes.length} outcomes for ${entries.length} messages; return one per message, or nothing`;
      return rejectAll(entries, new SluiceError("CONFIG", text));
    }
    for (const [index, entry] of entries.entries()) answer(entry, outcomes?.[index]);
  }
}

function rejectAll<Payload>(entries: readonly Entry<Payload>[], error: unknown): void {
  for (const entry of entries) entry.reject(error);
}

function answer(entry: Entry<unknown>, outcome: undefined | Outcome | Error): void {
  if (outcome instanceof Error) entry.reject(outcome);
  else entry.resolve(outcome);
}
