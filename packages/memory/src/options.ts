import { DriverError } from "@sluice/core/driver";
import type { Limits } from "@sluice/core/driver";
import type { MemoryBroker } from "./broker.ts";

/** Options of {@link memory}. All of them are optional. A profile that imitates another broker (`like`) will join them. */
export interface MemoryOptions {
  /**
   * The broker to connect to; share one object to let several drivers, buses and raw readers see the same records.
   * @default a broker of its own for each `memory()`
   */
  readonly broker?: MemoryBroker;
  /**
   * How long a record may be held without being settled or renewed, in milliseconds. After that it is delivered again.
   * @default 30_000
   */
  readonly leaseMs?: number;
  /**
   * Limits that differ from {@link defaultLimits}: lower them to see how a service meets a strict broker.
   * @default {}
   */
  readonly limits?: Partial<Limits>;
}

/** Everything resolved: what sender, receiver and connection work with. */
export interface ResolvedOptions {
  readonly leaseMs: number;
  readonly limits: Limits;
}

/** The limits of a broker made without options. Real numbers, so that a mistake shows in a unit test. */
export const defaultLimits: Limits = {
  messageBytes: 16 * 1024 * 1024,
  headers: 1_000,
  headerNameBytes: 1_024,
  headersBytes: 256 * 1024,
  keyBytes: 32 * 1024,
  nameBytes: 255,
  delayMs: Infinity,
  delayStepMs: 1,
  batch: { items: 1_000, bytes: 64 * 1024 * 1024, perKey: Infinity, scope: "connection" },
  sendsInFlight: 4,
  receiveBatch: 500,
  receivesInFlight: 1,
  settleBatch: 1_000,
  sourcesPerReceiver: 1_000,
};

/** Fills the defaults in. Throws `CONFIG` for a lease that is no positive number. */
export function resolveOptions(options: MemoryOptions): ResolvedOptions {
  const { leaseMs = 30_000, limits = {} } = options;
  if (!(leaseMs > 0) || leaseMs === Infinity) {
    throw new DriverError("CONFIG", `memory: leaseMs is ${leaseMs}; give a positive number of milliseconds`);
  }
  return { leaseMs, limits: { ...defaultLimits, ...limits } };
}
