import { Backoff } from "../backoff.ts";
import { DriverError, type Sender, type SendItem, type SendResult } from "../driver/index.ts";
import { SluiceError } from "../errors.ts";
import { type Call, type EnqueueOptions, Entry, type QueueResult, sizeOf } from "./entry.ts";
import { ended, overflow, refused, unsendable } from "./failure.ts";
import { SendBuffer } from "./send-buffer.ts";
import { SendLanes } from "./send-lanes.ts";
import type { SendQueueHealth, SendQueueOptions } from "./send-queue-options.ts";
import { Waits } from "./waits.ts";

/** Retries wait from 50 ms to 5 s. */
const firstBackoffMs = 50;
const maxBackoffMs = 5000;

/**
 * Everything that one bus sends, over whichever sender is alive. Sends at once when idle and gathers while calls are under way,
 * keeps the order of ordered keys, tries again what may succeed, and settles every item exactly once, at its deadline at the
 * latest. An item that failed as `unknown` once stays so: only a later success clears it.
 */
export class SendQueue {
  readonly #options: SendQueueOptions;
  readonly #lanes: SendLanes;
  readonly #waits: Waits;
  readonly #backoff: Backoff;
  readonly #buffer: SendBuffer;
  readonly #calls = new Set<Call>();
  /** Unsettled entries, and their bytes. */
  #pending = 0;
  #bytes = 0;
  #drains: (() => void)[] = [];
  #sender: Sender | undefined;
  #asked = false;
  #scheduled: "no" | "turn" | "microtask" = "no";
  #cancelRetry: (() => void) | undefined;
  /** Nothing was stored by the last call, and not because of its own items: one probe at a time until something is. */
  #outage = false;
  #paused = false;
  #closed = false;
  /** Settled entries that the lanes and the line still hold. */
  #dead = 0;
  /** Unsettled entries that failed at least once. */
  #retrying = 0;
  #lastError: DriverError | undefined;
  #confirmedMs: number | undefined;
  readonly #dispatchNow = (): void => this.#dispatch();

  constructor(options: SendQueueOptions) {
    this.#options = options;
    this.#buffer = new SendBuffer(options.buffer);
    this.#backoff = new Backoff(options.runtime, firstBackoffMs, maxBackoffMs);
    this.#waits = new Waits(options.runtime, (entries, why) => this.#end(entries, why));
    this.#lanes = new SendLanes(
      () => options.limits(),
      () => options.capabilities(),
    );
  }

  /** Takes an item. It settles through `options.onSettled`: confirmed, unroutable, refused, or ended by deadline or signal. */
  enqueue(item: SendItem, options: EnqueueOptions): void {
    const entry = new Entry(
      item,
      options,
      options.bytes ?? sizeOf(item),
      options.nowMs ?? this.#options.runtime.monotonicMs(),
    );
    this.#pending++;
    this.#bytes += entry.bytes;
    if (this.#closed) return this.#end([entry], "closed");
    if (options.signal?.aborted) return this.#end([entry], "aborted");
    if (this.#buffer.enter(entry) === "none") {
      return this.#settle(entry, failed(overflow(this.#options.driver, entry, this.#buffer.waiting)));
    }
    this.#waits.add(entry);
    if (entry.place === "queue") this.#ready(entry);
  }

  /** The same as a promise, which never rejects. */
  send(item: SendItem, options: Omit<EnqueueOptions, "onSettled">): Promise<QueueResult> {
    return new Promise((resolve) => this.enqueue(item, { ...options, onSettled: resolve }));
  }

  health(): SendQueueHealth {
    const { oldest } = this.#waits;
    return {
      pending: this.#pending,
      bytes: this.#bytes,
      waiting: this.#buffer.waiting,
      oldestMs: oldest && this.#options.runtime.monotonicMs() - oldest.enqueuedMs,
      lastError: this.#lastError,
      lastConfirmedAt: this.#confirmedMs === undefined ? undefined : new Date(this.#confirmedMs),
    };
  }

  /** Resolves to `true` when everything is settled, or to `false` when the signal aborts first. Takes new items meanwhile. */
  drain(signal?: AbortSignal): Promise<boolean> {
    if (this.#pending === 0) return Promise.resolve(true);
    if (signal?.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const finish = () => {
        signal?.removeEventListener("abort", finish);
        resolve(this.#pending === 0);
      };
      this.#drains.push(finish);
      signal?.addEventListener("abort", finish, { once: true });
    });
  }

  /** Ends what is left with `CLOSED`, and every later item. The sender belongs to the bus and stays open. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#end(this.#waits.unsettled(), "closed");
    this.#waits.stop();
    this.#purge();
  }

  #ready(entry: Entry): void {
    this.#lanes.add(entry);
    this.#schedule();
  }

  /** Lets in who waits for room. */
  #refill(): void {
    for (let entry = this.#buffer.next(); entry; entry = this.#buffer.next()) this.#ready(entry);
  }

  /** Idle: after the calls of this tick. Otherwise after a turn of the event loop, unless a whole batch is there. */
  #schedule(): void {
    const { batch, sendsInFlight } = this.#options.limits();
    if (this.#scheduled === "microtask" || this.#paused || this.#calls.size >= sendsInFlight) return;
    if (this.#calls.size === 0 || this.#lanes.ready >= batch.items) {
      this.#scheduled = "microtask";
      void Promise.resolve().then(this.#dispatchNow);
    } else if (this.#scheduled === "no") {
      this.#scheduled = "turn";
      this.#options.runtime.defer(this.#dispatchNow);
    }
  }

  #dispatch(): void {
    this.#scheduled = "no";
    const most = this.#outage ? 1 : this.#options.limits().sendsInFlight;
    while (!this.#closed && !this.#paused && this.#calls.size < most && this.#lanes.ready > 0) {
      if (!this.#sender) return this.#obtainSender();
      const entries = this.#lanes.take();
      if (entries.length === 0) return;
      void this.#call(this.#sender, entries);
    }
  }

  #obtainSender(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#options.sender().then(
      (sender) => this.#adopt(sender),
      (error: unknown) => {
        this.#asked = false;
        if (error instanceof DriverError && error.retryable) this.#retryLater(true, error);
        else this.#failAll(error);
      },
    );
  }

  async #adopt(sender: Sender): Promise<void> {
    this.#sender = sender;
    let closed = false;
    void sender.closed.then(() => {
      closed = true;
      if (this.#sender === sender) this.#sender = undefined;
    });
    // n.b. One that is closed already would be asked for again at once, and again: wait a little.
    await Promise.resolve();
    this.#asked = false;
    if (closed) this.#retryLater(true, new DriverError("LOST", `${this.#options.driver}: the sender was closed`));
    else this.#dispatch();
  }

  /** There will be no sender. What is in a call gets its answer from there. */
  #failAll(error: unknown): void {
    for (const entry of this.#waits.unsettled()) {
      if (!entry.call) this.#settle(entry, failed(unsendable(this.#options.driver, entry, error)));
    }
    this.#purge();
  }

  async #call(sender: Sender, entries: readonly Entry[]): Promise<void> {
    const call: Call = { entries, controller: new AbortController(), open: entries.length };
    this.#calls.add(call);
    for (const entry of entries) entry.call = call;
    const items = entries.map((entry) => entry.item);
    let results: readonly SendResult[] = [];
    try {
      results = await sender.send(items, call.controller.signal);
    } catch (error) {
      this.#options.report?.({ kind: "fault", error });
    }
    this.#calls.delete(call);
    this.#finish(entries, results);
  }

  #finish(entries: readonly Entry[], results: readonly SendResult[]): void {
    let answered = false;
    let progress = false;
    let error: DriverError | undefined;
    for (const [index, entry] of entries.entries()) {
      const result = results[index] ?? this.#unanswered();
      entry.call = undefined;
      if (result.outcome === "stored" || result.outcome === "unroutable") answered = true;
      if (result.outcome === "stored" && entry.tries > 0) progress = true;
      if (this.#conclude(entry, result)) error = worse(error, result.outcome === "stored" ? undefined : result.error);
      this.#lanes.ended(entry);
    }
    // While others wait to be tried again, only one that was tried again shows that waiting less is right.
    if (answered) this.#answered(progress || this.#retrying === 0);
    if (error) this.#retryLater(!answered && error.code !== "REFUSED", error);
    this.#refill();
    if (this.#lanes.ready > 0) this.#schedule();
  }

  /** Settles one entry by its result, or parks it: `true` when it is to be tried again. */
  #conclude(entry: Entry, result: SendResult): boolean {
    if (result.outcome === "unknown") entry.unknown = true;
    const again = (result.outcome === "not-stored" || result.outcome === "unknown") && result.error.retryable;
    if (!entry.settled && again && !this.#closed) {
      if (entry.tries++ === 0) this.#retrying++;
      entry.lastError = result.error;
      this.#lanes.park(entry);
      return true;
    }
    this.#lanes.leave(entry);
    if (result.outcome === "stored") this.#settle(entry, result);
    else if (!entry.settled) {
      const outcome = result.outcome === "unroutable" ? "unroutable" : "failed";
      this.#settle(entry, { outcome, error: refused(entry, result.error) });
    }
    return false;
  }

  #unanswered(): SendResult {
    const text = `${this.#options.driver}: the driver gave no result for a message; this is a bug of the driver`;
    return { outcome: "unknown", error: new DriverError("UNKNOWN", text) };
  }

  #answered(clean: boolean): void {
    this.#confirmedMs = this.#options.runtime.wallMs();
    this.#outage = this.#paused = false;
    if (!clean) return;
    this.#backoff.reset();
    if (this.#lastError) this.#options.report?.({ kind: "flowing" });
    this.#lastError = undefined;
  }

  /** `all`: not the items are the reason, so the whole queue waits. A wait that runs already is not made longer. */
  #retryLater(all: boolean, error: DriverError): void {
    this.#lastError = error;
    if (all) this.#outage = this.#paused = true;
    if (this.#cancelRetry || this.#closed) return;
    const waitMs = this.#backoff.next();
    this.#options.report?.({ kind: "failing", error, waitMs });
    this.#cancelRetry = this.#options.runtime.timer(waitMs, () => {
      this.#cancelRetry = undefined;
      this.#paused = false;
      this.#lanes.reopen();
      this.#dispatch();
    });
  }

  #end(entries: readonly Entry[], why: "deadline" | "aborted" | "closed"): void {
    const nowMs = this.#options.runtime.monotonicMs();
    for (const entry of entries) {
      const cause = why === "aborted" ? entry.options.signal?.reason : (entry.lastError ?? this.#lastError);
      this.#settle(entry, failed(ended(this.#options.driver, entry, why, nowMs, cause)));
    }
    // n.b. Not before all are settled: one that never got room is to say so, though others of its time made room.
    this.#refill();
  }

  #settle(entry: Entry, result: QueueResult): void {
    const { call, options } = entry;
    if (entry.settled) return;
    entry.settled = true;
    this.#pending--;
    this.#bytes -= entry.bytes;
    this.#buffer.leave(entry);
    if (entry.tries > 0) this.#retrying--;
    this.#waits.remove(entry);
    if (call && --call.open === 0) call.controller.abort(new SluiceError("ABORTED", "nobody waits for this call"));
    try {
      options.onSettled(result);
    } catch (error) {
      this.#options.report?.({ kind: "fault", error });
    }
    if (result.outcome === "failed" && ++this.#dead > 1000 && this.#dead > this.#pending) this.#purge();
    if (this.#pending === 0) this.#drained();
  }

  #purge(): void {
    this.#dead = 0;
    this.#lanes.purge();
    this.#waits.purge();
    this.#buffer.purge();
  }

  #drained(): void {
    const drains = this.#drains;
    this.#drains = [];
    for (const drain of drains) drain();
  }
}

function failed(error: SluiceError): QueueResult {
  return { outcome: "failed", error };
}

/** Of two errors of a call the one that says more about the connection than about its item. */
function worse(left: DriverError | undefined, right: DriverError | undefined): DriverError | undefined {
  return left && left.code !== "REFUSED" ? left : (right ?? left);
}
