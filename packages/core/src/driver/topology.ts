/** What the bus declared so far, in the words of the portable API. */
export interface Declaration {
  readonly topics: readonly DeclaredTopic[];
}

export interface DeclaredTopic {
  readonly name: string;
  readonly ordered: boolean;
  /** Parallelism of an ordered topic: partitions, queues or streams. */
  readonly shards: number;
  /** Somebody publishes to it with a delay, or retries through the own entry. */
  readonly delays: boolean;
  readonly groups: readonly DeclaredGroup[];
}

export interface DeclaredGroup {
  readonly name: string;
  readonly start: "earliest" | "now";
  /** Has an own entry. */
  readonly retry: boolean;
  readonly deadLetter: boolean;
}

/** One thing on the broker that must exist, in the broker's words. */
export interface Resource {
  /** `topic`, `queue`, `exchange`, `binding`, … */
  readonly kind: string;
  readonly name: string;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
}

/** `loses-data`: it exists, and its settings can lose messages silently (retention, eviction, missing dead-letter route). */
export interface Finding {
  readonly resource: Resource;
  readonly state: "ok" | "created" | "missing" | "differs" | "forbidden" | "loses-data";
  /** What is wrong, with both values, and what to do. */
  readonly detail: string;
}

/** `create` makes what is missing and never changes or deletes; `verify` only reads; `assume` does nothing. */
export type ProvisionMode = "create" | "verify" | "assume";
