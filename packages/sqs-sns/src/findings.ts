import { DriverError, type Finding, type ProvisionMode, type Resource, type Runtime } from "@sluice/core/driver";
import type { Clients } from "./clients.ts";
import type { Directory } from "./directory.ts";
import type { Names } from "./names.ts";

/** What making and checking needs. */
export interface Work {
  readonly clients: Clients;
  readonly directory: Directory;
  readonly names: Names;
  readonly runtime: Runtime;
  readonly mode: ProvisionMode;
  readonly signal: AbortSignal;
  /** What a topic takes, and every queue behind it has to. */
  readonly maxMessageBytes: number;
  /** Policies of queues, as far as this run has seen or made them: 1,000 topics shall not be asked everything twice. */
  readonly policies: Map<string, string | undefined>;
  /** Queues that this run made. */
  readonly fresh: Set<string>;
}

export function missing(resource: Resource): Finding {
  const detail = `${resource.kind} "${resource.name}" does not exist; create it, or connect with provision: 'create'`;
  return { resource, state: "missing", detail };
}

export function created(resource: Resource): Finding {
  return { resource, state: "created", detail: `${resource.kind} "${resource.name}" was created` };
}

export function differs(resource: Resource, differences: readonly string[]): Finding {
  const detail = `${resource.kind} "${resource.name}": ${differences.join(", ")}; change it, or use the settings that it has`;
  return { resource, state: "differs", detail };
}

export function losesData(resource: Resource, losses: readonly string[]): Finding | undefined {
  if (losses.length === 0) return undefined;
  return { resource, state: "loses-data", detail: `${resource.kind} "${resource.name}": ${losses.join(", ")}` };
}

/** What was asked for is not there. */
export async function unlessMissing<T>(ask: Promise<T>): Promise<T | undefined> {
  try {
    return await ask;
  } catch (error) {
    if (error instanceof DriverError && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}
