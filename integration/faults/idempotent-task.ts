/** What a member of idempotent-child.ts is told, and what it says. */

/** What `idempotent` does with a message, one after the other. */
export const storeSteps = [
  "before the lock",
  "with the lock",
  "in the handler",
  "after the effect",
  "after the record",
] as const;
/** What `inbox` does with a message, one after the other. */
export const inboxSteps = [
  "before the transaction",
  "with the mark",
  "in the handler",
  "after the effect",
  "with the commit sent",
  "after the commit",
] as const;
export type Step = (typeof storeSteps)[number] | (typeof inboxSteps)[number];

export interface IdempotentTask {
  readonly redis: string;
  /** Where effects are counted; with it, `inbox`. */
  readonly postgres?: string;
  readonly topic: string;
  readonly group: string;
  /** Of `idempotent`. */
  readonly lockMs: number;
  /** The step that it does not survive. Absent: it lives until it is stopped. */
  readonly dies?: Step;
  /** Its handler waits, before the effect, until something is written to its standard input. */
  readonly waits?: boolean;
}

/** What it writes, a line each. */
export type Line =
  | { readonly event: "live" }
  | { readonly event: "handling"; readonly id: string }
  | { readonly event: "deferred"; readonly id: string }
  | { readonly event: "settled"; readonly id: string; readonly fate: string }
  | { readonly event: "end"; readonly counters: Readonly<Record<string, number>> };
