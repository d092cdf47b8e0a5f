import { type Duration, milliseconds, nodeRuntime } from "@sluice/core";
import type { Bytes, Runtime } from "@sluice/core";
import { checkMethods } from "../options.ts";

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
  /** Every object, in any order, also leftovers of writes that ended half-way. What is no claim may be among them. */
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

export const storeHelp = "give fileClaims(folder), s3Claims({ … }), or another ClaimStore";

/** What may stand before names: nothing, or a name and `/`. */
export function isClaimPrefix(prefix: string): boolean {
  return prefix === "" || (prefix.endsWith("/") && isClaimName(prefix.slice(0, -1)));
}

/**
 * What {@link newClaimName} makes, and what is left of one whose writing ended half-way. The day after which it is no longer wanted
 * is the folder it lies in. n.b. The store may hold things that are not ours: a day alone makes no claim of them.
 */
const claimObject =
  /(?:^|\/)(\d{4}-\d{2}-\d{2})\/(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.part)$/i;

/**
 * A name for a new object.
 * @param id a UUID: by it and its folder the sweep knows its own
 */
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
  /** Claims that stay: wanted, or too young. */
  readonly kept: number;
  /** Of single objects that could not be deleted; they are there in the next sweep. */
  readonly errors: readonly unknown[];
}

/**
 * Deletes claims whose expiry is over (their name says it) and that are older than `olderThan`: read or not, and those whose
 * publish failed after they were stored. Run it once a day from anywhere; several at a time do no harm.
 *
 * Only what `claimCheck` named, `…/<day>/<UUID>`, is ever deleted; whatever else is in the folder or bucket stays, and is not counted.
 * @throws SluiceError `CONFIG`; what the store throws when it cannot be listed
 */
export async function sweepClaims(store: ClaimStore, options: SweepOptions = {}): Promise<SweepReport> {
  const { olderThan = "1d", signal, runtime = nodeRuntime } = options;
  checkMethods("sweepClaims: the store", store, ["list", "delete"], storeHelp);
  const now = runtime.wallMs();
  const before = now - milliseconds(olderThan, "olderThan of sweepClaims");
  const errors: unknown[] = [];
  let [deleted, bytes, kept] = [0, 0, 0];
  for await (const claim of store.list()) {
    if (signal?.aborted) break;
    const endsAt = endOf(claim.name);
    if (endsAt === undefined) continue;
    if (claim.storedAt >= before || endsAt >= now) {
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

/** When a claim's expiry is over; `undefined` for what is none. */
function endOf(name: string): number | undefined {
  const [, day] = claimObject.exec(name) ?? [];
  const end = Date.parse(`${day}T23:59:59.999Z`);
  return Number.isNaN(end) ? undefined : end;
}
