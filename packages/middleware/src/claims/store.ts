import { type Duration, milliseconds, nodeRuntime } from "@sluice/core";
import type { Bytes, Runtime } from "@sluice/core";

/**
 * Where `claimCheck` keeps bodies. A rejection means that the store cannot be asked now; it is tried again. Names have passed
 * {@link isClaimName}. Calls overlap, and end soon after their signal aborts.
 */
export interface ClaimStore {
  /** What references to this store's objects begin with: a URI, or a part of one. */
  readonly base: string;
  /** Resolves when the whole object is there for every reader. No reader ever sees a part. */
  put(name: string, body: Bytes, signal: AbortSignal): Promise<void>;
  /** `undefined`: there is no such object, for certain. Of a larger one, the first `maxBytes + 1` bytes are enough. */
  get(name: string, maxBytes: number, signal: AbortSignal): Promise<Bytes | undefined>;
  /** Also what is not there. */
  delete(name: string): Promise<void>;
  /** Every object, in any order, also leftovers of writes that ended half-way. */
  list(): AsyncIterable<StoredClaim>;
}

export interface StoredClaim {
  readonly name: string;
  /** Wall milliseconds. */
  readonly storedAt: number;
  readonly bytes: number;
}

/** Letters, digits and a few signs, in parts that begin with a letter or a digit: no name leads out of its store. */
const claimName = /^(?:[a-z0-9][\w.=-]*\/)*\.?[a-z0-9][\w.=-]*$/i;

/** Whether an object may be called so. n.b. Names come from the wire: whoever can publish can make them up. */
export function isClaimName(name: string): boolean {
  return name.length <= 512 && claimName.test(name);
}

/** What may stand before names: nothing, or a name and `/`. */
export function isClaimPrefix(prefix: string): boolean {
  return prefix === "" || (prefix.endsWith("/") && isClaimName(prefix.slice(0, -1)));
}

/** The day after which an object is no longer wanted is the folder it lies in. */
const expiryDay = /(?:^|\/)(\d{4}-\d{2}-\d{2})\/[^/]+$/;

/** A name for a new object. */
export function newClaimName(prefix: string, expiresAt: number, id: string): string {
  return `${prefix}${new Date(expiresAt).toISOString().slice(0, 10)}/${id}`;
}

/** Options of {@link sweepClaims}. */
export interface SweepOptions {
  /** Objects that are younger stay. @default '1d' */
  readonly olderThan?: Duration;
  /** Ends the sweep after the object at hand. */
  readonly signal?: AbortSignal;
  /** The clock. @default the process's own */
  readonly runtime?: Pick<Runtime, "wallMs">;
}

/** What a sweep did. */
export interface SweepReport {
  readonly deleted: number;
  /** Of what was deleted. */
  readonly bytes: number;
  readonly kept: number;
  /** Of single objects that could not be deleted; they are there in the next sweep. */
  readonly errors: readonly unknown[];
}

/**
 * Deletes objects whose expiry is over (their name says it) and that are older than `olderThan`: read or not, and those whose
 * publish failed after they were stored. Run it once a day from anywhere; several at a time do no harm.
 * @throws what the store throws when it cannot be listed
 */
export async function sweepClaims(store: ClaimStore, options: SweepOptions = {}): Promise<SweepReport> {
  const { olderThan = "1d", signal, runtime = nodeRuntime } = options;
  const now = runtime.wallMs();
  const before = now - milliseconds(olderThan, "olderThan of sweepClaims");
  const errors: unknown[] = [];
  let [deleted, bytes, kept] = [0, 0, 0];
  for await (const claim of store.list()) {
    if (signal?.aborted) break;
    if (claim.storedAt >= before || isWanted(claim.name, now)) {
      kept++;
      continue;
    }
    try {
      await store.delete(claim.name);
      deleted++;
      bytes += claim.bytes;
    } catch (error) {
      errors.push(error);
    }
  }
  return { deleted, bytes, kept, errors };
}

function isWanted(name: string, now: number): boolean {
  const end = Date.parse(`${expiryDay.exec(name)?.[1]}T23:59:59.999Z`);
  // n.b. NaN: the name says nothing.
  return end >= now;
}
