import type { Filter } from "./record.ts";

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
  /** Only where `capabilities.filter` is native. It never holds for the own entry. */
  readonly filter?: Filter;
}

/** One thing on the broker that must exist, in the broker's words. */
export interface Resource {
  /** `topic`, `queue`, `exchange`, `binding`, … */
  readonly kind: string;
  readonly name: string;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  /** Several topics or groups use it on purpose. Of anything else that two of them would use, core says that the names collide. */
  readonly shared?: true;
  /** What each role must be allowed to do with it, in the broker's words: ACL operations, IAM actions. */
  readonly actions?: Readonly<Partial<Record<Role, readonly string[]>>>;
}

/** Who does something on the broker: what makes resources, what sends, what reads. */
export type Role = "provision" | "publish" | "consume";

/** `loses-data`: it exists, and its settings can lose messages silently (retention, eviction, missing dead-letter route). */
export interface Finding {
  readonly resource: Resource;
  readonly state: "ok" | "created" | "missing" | "differs" | "forbidden" | "loses-data";
  /** What is wrong, with both values, and what to do. */
  readonly detail: string;
}

/** `create` makes what is missing and never changes or deletes; `verify` only reads; `assume` does nothing. */
export type ProvisionMode = "create" | "verify" | "assume";
