import { isSluiceError, PermanentError } from "@sluice/core";

export type TextHeaders = Readonly<Record<string, string>>;

/** What goes into a reader: whatever it makes of these parts. The seed decides the rest, so a sample gives the same run again. */
export interface Sample {
  readonly bytes: Buffer;
  readonly headers: TextHeaders;
  readonly seed: number;
}

/** Parts of what is read without complaint. */
export type Golden = Pick<Sample, "bytes" | "headers">;

/** One thing that reads what others wrote. */
export interface Target {
  readonly name: string;
  /** What it reads without complaint; hostile inputs are made from these. At least one. */
  readonly golden: readonly Golden[];
  /** Names of headers that mean something to it. */
  readonly names?: readonly string[];
  /** How many of a hundred inputs it gets, relative to others. @default 1 */
  readonly weight?: number;
  /** Reads a sample. What it throws must be `expected`; it checks itself what it returns, and throws a {@link Broken}. */
  run(sample: Sample): unknown;
  /** Whether this error is one that the code promises. */
  expected(error: unknown): boolean;
  close?(): Promise<void>;
}

/** A result that breaks a promise of the code: always a finding. */
export class Broken extends Error {
  override readonly name = "Broken";
}

export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Broken(what);
}

/** Nothing may be thrown. */
export const nothing = (): boolean => false;

/**
 * Final errors of codecs and wire middleware, as core's pipeline knows them. n.b. Nothing is down here: who says so lets one message
 * of a stranger hold up its group for ever.
 */
export function typed(error: unknown): boolean {
  return (isSluiceError(error) && error.code !== "UNAVAILABLE") || error instanceof PermanentError;
}

export function sample(text: string | Uint8Array, headers: TextHeaders = {}): Golden {
  return { bytes: Buffer.from(text as Uint8Array), headers };
}
