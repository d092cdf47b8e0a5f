/**
 * The waiting places: a record waits in one for exactly its length after the append, so that nobody waits behind a longer one, and
 * goes on to a shorter one until it is due. In the first (length 0) it waits in memory for less than the next one's length.
 */
export const tiers: readonly { readonly name: string; readonly ms: number }[] = [
  { name: "0s", ms: 0 },
  { name: "4s", ms: 4_000 },
  { name: "15s", ms: 15_000 },
  { name: "1m", ms: 60_000 },
  { name: "4m", ms: 240_000 },
  { name: "15m", ms: 900_000 },
  { name: "1h", ms: 3_600_000 },
  { name: "4h", ms: 14_400_000 },
  { name: "1d", ms: 86_400_000 },
];

/** Longest delay: every hop appends again, so no retention bounds it; a year is the promise. */
export const longestDelayMs: number = 365 * 86_400_000;

/** The waiting place for what is due in `remainingMs`. */
export function tierFor(remainingMs: number): string {
  return tiers.findLast(({ ms }) => ms <= remainingMs)?.name ?? "0s";
}

/** When a record may leave its waiting place: after the tier's length, or as soon as it is due. */
export function leavesAt(tierMs: number, appendedAt: number, notBefore: number): number {
  return tierMs === 0 ? notBefore : Math.min(notBefore, appendedAt + tierMs);
}
