import type { DriverError, SendItem, SendResult } from "../driver/index.ts";
import type { SluiceError } from "../errors.ts";
import type { Bin, Lane } from "./send-lanes.ts";

/** What became of one item. `error.outcome` tells `not-stored` from `unknown`. */
export type QueueResult =
  | Extract<SendResult, { readonly outcome: "stored" }>
  | { readonly outcome: "unroutable" | "failed"; readonly error: SluiceError };

export interface EnqueueOptions {
  /** Items of one destination with the same ordered key are stored in the order of `enqueue`. */
  readonly orderedKey?: string | undefined;
  /** Monotonic milliseconds at which the item settles at the latest. `Infinity` = it waits as long as the queue lives. */
  readonly deadlineMs: number;
  /** Passes the bound of the buffer: for copies of messages that a consumer's window bounds already. */
  readonly internal?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Monotonic milliseconds, where the caller has read the clock already. @default now */
  readonly nowMs?: number;
  /** Memory of the item, about, where the caller knows it. @default counted */
  readonly bytes?: number;
  /** Called exactly once, possibly before `enqueue` returns. */
  onSettled(result: QueueResult): void;
}

/** One `send` call of the driver that is under way. */
export interface Call {
  readonly entries: readonly Entry[];
  readonly controller: AbortController;
  /** Entries whose caller still waits; at 0 the call is aborted. */
  open: number;
}

/** One item in the queue. A class, so that all have one hidden shape. */
export class Entry {
  readonly item: SendItem;
  readonly options: EnqueueOptions;
  readonly bytes: number;
  readonly enqueuedMs: number;
  settled = false;
  /** `line`: waits for room in the buffer. `queue`: got it. */
  place: "none" | "line" | "queue" = "none";
  sequence = 0;
  lane: Lane | undefined = undefined;
  bin: Bin | undefined = undefined;
  call: Call | undefined = undefined;
  /** Calls that ended with a failure that may be tried again. */
  tries = 0;
  /** A try may have been stored: stays true whatever later tries say. */
  unknown = false;
  lastError: DriverError | undefined = undefined;

  constructor(item: SendItem, options: EnqueueOptions, bytes: number, nowMs: number) {
    this.item = item;
    this.options = options;
    this.bytes = bytes;
    this.enqueuedMs = nowMs;
  }
}

/** Flat price of the objects around a record. */
export const overheadBytes = 64;

/** Memory of an item in bytes, about: body, key, names and values. */
export function sizeOf({ record }: SendItem): number {
  let size = overheadBytes + (record.body?.byteLength ?? 0) + (record.key?.length ?? 0);
  for (const name in record.headers) size += name.length + (record.headers[name]?.length ?? 0);
  return size;
}
