import type { DriverError } from "./driver-error.ts";

/** Bytes as every driver sees them. A driver copies what would pin a larger receive buffer. */
export type Bytes = Uint8Array;

/** String headers without anything inherited: a header may be called `__proto__`. Build with {@link emptyHeaders}. */
export type Headers = Record<string, string>;

/** `null` = no key; the empty string and empty bytes are keys like any other. */
export type Key = string | Bytes | null;

/**
 * Where a record goes.
 * - `{ topic }`: every group and broadcast of the topic, foreign readers too.
 * - `{ topic, group }`: that group's own entry (retry, redrive). Nobody else sees it.
 * - `{ topic, group, deadLetter: true }`: that group's dead letters.
 */
export type Destination =
  | { readonly topic: string; readonly group?: undefined; readonly deadLetter?: undefined }
  | { readonly topic: string; readonly group: string; readonly deadLetter?: true };

/** Where a new group begins: with everything retained, or with what is sent from now on. */
export type Start = "earliest" | "now";

/** Where a group goes on: its first retained message, after its last, the first one from a time (wall milliseconds), or the broker's own word for it. */
export type Position = Start | { readonly time: number } | { readonly native: string };

/** Header values that let a record pass; every named header must match one of its values or the prefix. */
export type Filter = Readonly<Record<string, string | readonly string[] | { readonly prefix: string }>>;

/**
 * What a receiver reads.
 * - group: the topic AND the group's own entry, merged fairly: while both wait, each gets at least a quarter.
 * - broadcast: one running instance; `broadcast` is a stable name, `instance` dies with the process.
 * - dead letters: a finite snapshot; `receive` answers `undefined` once everything that was there at opening is out.
 * - delayed: waiting places of a driver whose delay is `forwarder`; each delivery carries `forward` and is due now.
 */
export type Source =
  | GroupSource
  | BroadcastSource
  | DeadLetterSource
  | { readonly delayed: true; readonly topic?: undefined };

export interface GroupSource {
  readonly topic: string;
  readonly group: string;
  readonly start: Start;
  readonly filter?: Filter;
  readonly deadLetter?: undefined;
}

export interface BroadcastSource {
  readonly topic: string;
  readonly broadcast: string;
  readonly instance: string;
  readonly filter?: Filter;
}

export interface DeadLetterSource {
  readonly topic: string;
  readonly group: string;
  readonly deadLetter: true;
}

/** A record on its way out. Immutable: a driver never writes to it and never keeps it after `send` settled. */
export interface OutgoingRecord {
  /** Names the message for ever: copies, redrives and bridges keep it. */
  readonly id: string;
  /** Names THIS write: `${id}/${hop}`. A broker that deduplicates uses it, never `id`, or it swallows the copy of a move. */
  readonly dedupId: string;
  readonly key: Key;
  /** `null` is a tombstone and stays one. */
  readonly body: Bytes | null;
  readonly headers: Headers;
  /** When the message was first published, wall milliseconds. Travels with every copy. */
  readonly time: number;
  /** 0 (lowest) … 9; only where `capabilities.priority` is not absent. */
  readonly priority?: number;
}

export interface SendItem {
  readonly to: Destination;
  readonly record: OutgoingRecord;
  /** Wall milliseconds. Nobody may see the record earlier. On the item, because a due time is per record. */
  readonly notBefore?: number;
  /** The delivery that this item is a copy of: the driver copies what strings cannot hold (native headers, binary values). */
  readonly from?: Delivery;
}

/** What came of one item, in the order of the items. `error` says why, and whether trying again can help. */
export type SendResult =
  | { readonly outcome: "stored"; readonly native?: unknown }
  | { readonly outcome: "unroutable" | "not-stored" | "unknown"; readonly error: DriverError };

/** A record handed to core. Core gives the same object back to `settle`, `extend` and `commit`. */
export interface Delivery {
  /** `undefined`: written by a foreign producer, and the broker gives nothing stable. */
  readonly id: string | undefined;
  readonly key: Key;
  readonly body: Bytes | null;
  readonly headers: Headers;
  /** When it was first published, wall milliseconds; `undefined` when the broker does not tell. */
  readonly time: number | undefined;
  readonly source: Source;
  /** Native order scope: partition, queue, stream; `''` when there is none. Unique within the receiver. */
  readonly shard: string;
  /** How often the broker handed it out, this time included. Evidence of crashes only, never policy. */
  readonly deliveries: number | undefined;
  /** Grows with each new holder of the shard, where the broker has such a number. */
  readonly fence: bigint | undefined;
  /** Only from a delayed source: where it goes now, or next, and when it is finally due. */
  readonly forward?: { readonly to: Destination; readonly notBefore: number };
  /** The client library's own message. Typed by the driver's `NativeMessage`. */
  readonly native: unknown;
}

export type Settlement =
  | { readonly delivery: Delivery; readonly accept: true }
  | {
      readonly delivery: Delivery;
      readonly accept: false;
      /** `returned`: never ran, the broker is asked not to count it. `failed`: it ran and failed. */
      readonly release: "returned" | "failed";
    };

/**
 * - `durable`: the broker confirmed it. `sent`: on the wire, unconfirmed. `recorded`: durable at the latest after `flush`.
 * - `lost`: late, doubled or foreign; nothing was touched and the record comes again (or came already).
 */
export type SettleResult = "durable" | "sent" | "recorded" | "lost";

/** Sends and accepts that happen together or not at all. */
export interface Unit {
  readonly accept: readonly Delivery[];
  readonly send: readonly SendItem[];
}

/**
 * - `durable`: all of the unit happened. `lost`: nothing of it did, and its records come again.
 * - `unknown`: nobody can tell; the receiver fails, and what was not committed comes again.
 * - an error: nothing of it happened, because of one of its sends. The records are still ours; other units are not affected.
 */
export type CommitResult = "durable" | "lost" | "unknown" | DriverError;

/**
 * Headers that inherit nothing: a header may be called `__proto__`. n.b. `Object.create(null)` would be a hash table in memory,
 * several times as dear to make and to read as an object with an empty ancestor.
 */
export function emptyHeaders(): Headers {
  return new NoAncestors();
}

const NoAncestors = function () {} as unknown as new () => Headers;
NoAncestors.prototype = Object.freeze(Object.create(null)) as Headers;
