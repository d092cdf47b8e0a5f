import type { Budget } from "./budget.ts";

/**
 * Who must be able to read what. BACKWARD: the new schema reads what the newest old one wrote, so readers are rolled out
 * first. FORWARD: the newest old one reads what the new one writes, so writers go first. FULL: both, in any order.
 * `*_TRANSITIVE`: against every old version instead of the newest. NONE: nothing is checked.
 */
export type CompatibilityLevel =
  | "NONE"
  | "BACKWARD"
  | "BACKWARD_TRANSITIVE"
  | "FORWARD"
  | "FORWARD_TRANSITIVE"
  | "FULL"
  | "FULL_TRANSITIVE";

/** All levels, weakest first. */
export const compatibilityLevels: readonly CompatibilityLevel[] = [
  "NONE",
  "BACKWARD",
  "BACKWARD_TRANSITIVE",
  "FORWARD",
  "FORWARD_TRANSITIVE",
  "FULL",
  "FULL_TRANSITIVE",
];

export type SchemaType = "avro" | "json-schema" | "protobuf";

/** Why a schema is not compatible, and where. */
export interface CompatibilityProblem {
  /** A JSON pointer for JSON Schema (`#/properties/a`), names for Avro (`Order.lines.[].price`) and Protobuf (`Order.2`). */
  readonly path: string;
  /** One sentence for people; not for programs. */
  readonly reason: string;
  /** `backward`: the new schema cannot read what the old one wrote. `forward`: the old one cannot read the new one's. */
  readonly direction: "backward" | "forward";
  /** Which old version: its index in `against`. */
  readonly against: number;
}

export interface Compatibility {
  readonly compatible: boolean;
  /** Empty when compatible. At most 100: the rest would say nothing new. */
  readonly problems: readonly CompatibilityProblem[];
}

/** One complaint, before the direction and the version are known. */
export interface Finding {
  readonly path: string;
  readonly reason: string;
}

/** Whether one parsed schema can read what another one wrote. */
export interface Comparison<Parsed> {
  parse(text: string, owner: string): Parsed;
  read(reader: Parsed, writer: Parsed, budget: Budget): readonly Finding[];
}

export const maxFindings = 100;
