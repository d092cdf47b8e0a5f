import type { Capabilities, Limits } from "@sluice/core/driver";
import type { CaseContext } from "./context.ts";

export type Profile = "smoke" | "standard" | "fault";

/** What the live connection says: decides which cases run, and which refusals are tested instead. */
export interface Facts {
  readonly capabilities: Capabilities;
  readonly limits: Limits;
  /** What the server calls itself. */
  readonly server: string;
  /** Of a receiver of an unordered group; `undefined`: held as long as the connection lives. */
  readonly lease: { readonly ms: number; readonly renew: boolean; readonly holdMs: number } | undefined;
}

/** One rule of the specification, as a program. It passes by returning and fails by throwing. */
export interface Case {
  /** Permanent; never reused. */
  readonly id: string;
  readonly title: string;
  /** The promise that it proves, in one sentence. */
  readonly rule: string;
  /** Of every adapter; the others only where `needs` holds. */
  readonly required: boolean;
  /** The first profile that runs it. `fault` runs alone, one after another. */
  readonly profile: Profile;
  /** Declared: `run`; not declared: `inverse`, or a skip for the capability when there is nothing to refuse. */
  readonly needs?: { readonly what: string; readonly holds: (facts: Facts) => boolean };
  /** Holds also where a broker has no groups: there a broadcast reads instead. Other cases are skipped for that capability. */
  readonly groupless?: true;
  /** What the harness must have; `cut`: any way to break a client's connection. Missing control makes the case invalid. */
  readonly uses?: readonly (
    | "control"
    | "processes"
    | "proxy"
    | "cut"
    | "credentials"
    | "powerless"
    | "address"
    | "raw"
  )[];
  /** In all. @default 40 s and four recovery times */
  readonly limitMs?: number;
  /** Must not share the broker with others. @default the fault profile only */
  readonly serial?: boolean;
  readonly run: (context: CaseContext) => Promise<void>;
  /** Asserts the refusal of what is not declared. */
  readonly inverse?: (context: CaseContext) => Promise<void>;
}

export type SkipReason = "capability" | "environment" | "waiver" | "profile";

export interface CaseResult {
  readonly id: string;
  readonly title: string;
  readonly rule: string;
  readonly required: boolean;
  readonly status: "pass" | "fail" | "skip" | "invalid";
  /** Whether the capability or its refusal was tested. Absent where neither ran. */
  readonly tested?: "declared" | "refusal";
  readonly skip?: SkipReason;
  /** Why it was skipped, failed or is invalid. */
  readonly reason?: string;
  readonly durationMs: number;
  readonly metrics: Metrics;
}

/** Numbers of a case; only those that it measured. */
export interface Metrics {
  published?: number;
  effects?: number;
  lost?: number;
  duplicates?: number;
  budget?: number;
  reorder?: number;
  corrupted?: number;
  unexpected?: number;
  recovered?: number;
  stuck?: number;
  gapMs?: number;
  latencyP50Ms?: number;
  latencyP99Ms?: number;
  recoveryMs?: number;
}

/** Thrown by a case whose own set-up failed: neither the driver's merit nor its fault, and never green. */
export class InvalidError extends Error {
  override readonly name = "InvalidError";
}

/** States a case; gives it its type and nothing else. */
export function defineCase(stated: Case): Case {
  return stated;
}
