import type { ConnectionKeeper } from "./connection-keeper.ts";
import { fromDriver } from "./driver-failure.ts";
import {
  type Bytes,
  type DeadLetterSource,
  deadLetterHeaders,
  type Delivery,
  type Destination,
  emptyHeaders,
  fromDeadLetter,
  type Headers,
  type Key,
  type Receiver,
  type Runtime,
  wire,
} from "./driver/index.ts";
import { SluiceError } from "./errors.ts";
import { count } from "./consume/work.ts";
import type { SendCopy } from "./consume/mover.ts";

/** A message that a group gave up, with the reason. */
export interface DeadLetter {
  readonly id: string | undefined;
  readonly key: Key;
  readonly body: Bytes | null;
  readonly headers: Readonly<Headers>;
  readonly time: Date | undefined;
  /** `permanent`, `invalid`, `exhausted`, `rejected`, `crash-suspect`, or what another tool wrote. */
  readonly reason: string;
  readonly errorType: string;
  readonly errorMessage: string;
  readonly attempts: number;
  readonly failedAt: Date | undefined;
  readonly redrives: number;
}

export interface DeadLetterSelection {
  /** Only those for which it answers true. @default all */
  readonly filter?: (letter: DeadLetter) => boolean;
  /** At most so many. @default no bound */
  readonly max?: number;
  readonly signal?: AbortSignal;
}

export interface RedriveReport {
  /** Put back to the group that gave them up. */
  readonly redriven: number;
  /** Did not match the filter; still dead letters. */
  readonly kept: number;
}

export interface DiscardReport {
  readonly discarded: number;
  readonly kept: number;
}

export interface DeadLettersParts {
  readonly driver: string;
  readonly runtime: Runtime;
  readonly keeper: ConnectionKeeper;
  readonly sendCopy: SendCopy;
  readonly source: DeadLetterSource;
}

const window = 256;

/** Where a letter goes; `undefined`: nowhere. */
type Target = (letter: DeadLetter, headers: Headers) => { to: Destination; headers: Headers } | undefined;

interface Passed {
  readonly delivery: Delivery;
  readonly matched: boolean;
  readonly error: SluiceError | undefined;
}

/** The dead letters of one group of a topic. Made by `bus.deadLetters(topic, { group })`. */
export class DeadLetters {
  readonly #parts: DeadLettersParts;

  /** @internal */
  constructor(parts: DeadLettersParts) {
    this.#parts = parts;
  }

  /** How many there are; `undefined` where the broker cannot tell. */
  async count(signal: AbortSignal = new AbortController().signal): Promise<number | undefined> {
    const connection = await this.#parts.keeper.connection(signal);
    try {
      return (await connection.backlog(this.#parts.source, signal)).ready;
    } catch (error) {
      throw fromDriver(error);
    }
  }

  /**
   * Reads some without taking them. `next` is the cursor of the next page; `undefined` = that was the last.
   * @throws SluiceError `UNSUPPORTED` where the broker cannot look without taking
   */
  async list(
    options: { readonly max?: number; readonly after?: string; readonly signal?: AbortSignal } = {},
  ): Promise<{ readonly letters: readonly DeadLetter[]; readonly next: string | undefined }> {
    const signal = options.signal ?? new AbortController().signal;
    const connection = await this.#parts.keeper.connection(signal);
    if (!connection.browse) {
      throw new SluiceError(
        "UNSUPPORTED",
        `${this.#parts.driver}: dead letters cannot be listed on this broker; use count and redrive`,
      );
    }
    try {
      const page = await connection.browse(this.#parts.source, options.after, options.max ?? 100, signal);
      return { letters: page.deliveries.map(toLetter), next: page.next };
    } catch (error) {
      throw fromDriver(error);
    }
  }

  /**
   * Puts them back to the group that gave them up, and to no other: a fresh start with the first attempt. Takes those that are
   * there now; what dies again meanwhile waits for the next call. A crash in between duplicates, never loses. Without `filter` and
   * `max` a broker that can moves them by itself.
   */
  async redrive(selection: DeadLetterSelection = {}): Promise<RedriveReport> {
    const { topic, group } = this.#parts.source;
    const moved = await this.#moveBack(selection);
    if (moved !== undefined) return { redriven: moved, kept: 0 };
    const { taken, kept } = await this.#each(selection, (letter, headers) => {
      return { to: { topic, group }, headers: fromDeadLetter(headers, letter.redrives + 1) };
    });
    return { redriven: taken, kept };
  }

  async #moveBack({
    filter,
    max,
    signal = new AbortController().signal,
  }: DeadLetterSelection): Promise<number | undefined> {
    if (filter || max !== undefined) return undefined;
    const connection = await this.#parts.keeper.connection(signal);
    try {
      return await connection.moveBack?.(this.#parts.source, signal);
    } catch (error) {
      throw fromDriver(error);
    }
  }

  /** Deletes them for good. */
  async discard(selection: DeadLetterSelection = {}): Promise<DiscardReport> {
    const { taken, kept } = await this.#each(selection, () => undefined);
    return { discarded: taken, kept };
  }

  async #each(selection: DeadLetterSelection, target: Target): Promise<{ taken: number; kept: number }> {
    const signal = selection.signal ?? new AbortController().signal;
    const { filter = () => true, max = Number.POSITIVE_INFINITY } = selection;
    const { receiver, most } = await this.#open(signal);
    let taken = 0;
    let kept = 0;
    try {
      while (taken < max && !signal.aborted) {
        const deliveries = await receiver.receive(Math.min(most, max - taken), signal);
        if (!deliveries) break;
        const all = await Promise.all(deliveries.map((delivery) => this.#pass(delivery, filter, target, signal)));
        const passed = all.filter(({ error }) => error === undefined);
        // n.b. Also when one failed: those that were copied would be there twice.
        if (passed.length > 0) await receiver.settle(passed.map(({ delivery }) => ({ delivery, accept: true })));
        for (const { error } of all) if (error !== undefined) throw error;
        taken += all.filter(({ matched }) => matched).length;
        kept += all.filter(({ matched }) => !matched).length;
      }
      await receiver.flush(signal);
    } catch (error) {
      throw fromDriver(error);
    } finally {
      await receiver.close(signal).catch(() => undefined);
    }
    return { taken, kept };
  }

  async #pass(
    delivery: Delivery,
    filter: (letter: DeadLetter) => boolean,
    target: Target,
    signal: AbortSignal,
  ): Promise<Passed> {
    try {
      const letter = toLetter(delivery);
      const matched = filter(letter);
      // n.b. One that does not match goes to the end: a log cannot take from the middle, a queue would hand it out again.
      const next = matched ? target(letter, delivery.headers) : { to: this.#parts.source, headers: delivery.headers };
      if (next) await this.#copy(delivery, next.to, next.headers, signal);
      return { delivery, matched, error: undefined };
    } catch (error) {
      return { delivery, matched: false, error: fromDriver(error) };
    }
  }

  async #open(signal: AbortSignal): Promise<{ receiver: Receiver; most: number }> {
    const connection = await this.#parts.keeper.connection(signal);
    try {
      const receiver = await connection.receiver([this.#parts.source], {
        ordered: false,
        window,
        windowBytes: 64 * 1024 * 1024,
        // Lost ones are handed out again later: the copy that was sent is a duplicate then.
        lost: () => undefined,
      });
      return { receiver, most: Math.min(window, connection.limits.settleBatch) };
    } catch (error) {
      throw fromDriver(error);
    }
  }

  #copy(delivery: Delivery, to: Destination, headers: Headers, signal: AbortSignal): Promise<void> {
    const hop = count(delivery.headers[wire.hop]) + 1;
    const id = delivery.id ?? this.#parts.runtime.id();
    const copy = Object.assign<Headers, Headers>(emptyHeaders(), headers);
    copy[wire.hop] = String(hop);
    const time = delivery.time ?? this.#parts.runtime.wallMs();
    const record = { id, dedupId: `${id}/${hop}`, key: delivery.key, body: delivery.body, headers: copy, time };
    return new Promise((resolve, reject) => {
      this.#parts.sendCopy({ to, record, from: delivery }, (error) => (error ? reject(error) : resolve()), signal);
    });
  }
}

function toLetter(delivery: Delivery): DeadLetter {
  const { headers } = delivery;
  const failedAt = headers[deadLetterHeaders.failedAt];
  return {
    id: delivery.id,
    key: delivery.key,
    body: delivery.body,
    headers,
    time: delivery.time === undefined ? undefined : new Date(delivery.time),
    reason: headers[deadLetterHeaders.reason] ?? "unknown",
    errorType: headers[deadLetterHeaders.errorType] ?? "",
    errorMessage: headers[deadLetterHeaders.errorMessage] ?? "",
    attempts: count(headers[deadLetterHeaders.attempts]),
    failedAt: failedAt === undefined ? undefined : new Date(failedAt),
    redrives: count(headers[wire.redrives]),
  };
}
