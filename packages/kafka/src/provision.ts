import { type Finding, type ProvisionMode, type Resource, type Runtime, sleep } from "@sluice/core/driver";
import type { AdminClient } from "./client.ts";
import { toDriverError } from "./errors.ts";

const pollMs = 50;

/** Makes or checks topics, several at a time; findings in the order of the resources. */
export async function provision(
  admin: AdminClient,
  runtime: Runtime,
  resources: readonly Resource[],
  options: { readonly mode: ProvisionMode; readonly replicationFactor: number; readonly signal: AbortSignal },
): Promise<readonly Finding[]> {
  if (options.mode === "assume") return [];
  const findings = await Promise.all(resources.map((resource) => provisionOne(admin, runtime, resource, options)));
  return findings.flat();
}

async function provisionOne(
  admin: AdminClient,
  runtime: Runtime,
  resource: Resource,
  options: { readonly mode: ProvisionMode; readonly replicationFactor: number; readonly signal: AbortSignal },
): Promise<readonly Finding[]> {
  const { name, settings } = resource;
  try {
    const partitions = await admin.partitions(name);
    if (partitions !== undefined) return await compare(admin, resource, partitions);
    if (options.mode === "verify") {
      return [{ resource, state: "missing", detail: `kafka: topic "${name}" does not exist; create it with ${settings["partitions"]} partitions, or connect with provision: 'create'` }];
    }
    const config = Object.fromEntries(
      Object.entries(settings)
        .filter(([key]) => key !== "partitions")
        .map(([key, value]) => [key, String(value)]),
    );
    const created = await admin.createTopic({
      name,
      partitions: Number(settings["partitions"]),
      replicationFactor: options.replicationFactor,
      config,
    });
    await untilUsable(admin, runtime, name, options.signal);
    return created ? [{ resource, state: "created", detail: `kafka: created topic "${name}"` }] : [];
  } catch (error) {
    const failure = toDriverError(error, `cannot provision topic "${name}"`, "create it by hand, or grant Create and Describe");
    if (failure.code !== "FORBIDDEN") throw failure;
    return [{ resource, state: "forbidden", detail: failure.message }];
  }
}

/** A topic that somebody else has just created may not be known to every broker yet. */
async function untilUsable(admin: AdminClient, runtime: Runtime, topic: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await admin.partitions(topic)) === undefined) await sleep(runtime, pollMs, signal);
}

async function compare(admin: AdminClient, resource: Resource, partitions: number): Promise<readonly Finding[]> {
  const { name, settings } = resource;
  const findings: Finding[] = [];
  if (partitions !== settings["partitions"]) {
    findings.push({ resource, state: "differs", detail: `kafka: topic "${name}" has ${partitions} partitions, declared are ${settings["partitions"]}; declare ${partitions} shards (adding partitions moves keys)` });
  }
  const actual = await settingsOf(admin, name);
  const retention = Number(actual.get("retention.ms") ?? -1);
  const declared = settings["retention.ms"];
  if (typeof declared === "number" && retention >= 0 && retention < declared) {
    findings.push({ resource, state: "loses-data", detail: `kafka: topic "${name}" keeps records for ${retention} ms, less than the ${declared} ms it needs; raise its retention.ms` });
  }
  const policy = actual.get("cleanup.policy") ?? "delete";
  if (policy.includes("compact") && declared !== undefined) {
    findings.push({ resource, state: "loses-data", detail: `kafka: topic "${name}" is compacted, which removes waiting records of the same key; set cleanup.policy to delete` });
  }
  return findings;
}

/** Reading the configuration is a right of its own; without it there is nothing to compare. */
async function settingsOf(admin: AdminClient, topic: string): Promise<ReadonlyMap<string, string>> {
  try {
    return await admin.settings(topic);
  } catch {
    return new Map();
  }
}
