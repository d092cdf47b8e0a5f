import {
  type DriverErrorCode,
  type Finding,
  type ProvisionMode,
  type Resource,
  type Runtime,
  sleep,
} from "@sluice/core/driver";
import type { AdminClient } from "./client.ts";
import { codeOfError, toDriverError } from "./errors.ts";
import { encodeJournal } from "./journal.ts";

const pollMs = 50;

export interface ProvisionOptions {
  readonly mode: ProvisionMode;
  readonly replicationFactor: number;
  readonly signal: AbortSignal;
}

/** Makes or checks topics; findings in the order of the resources. */
export async function provision(
  admin: AdminClient,
  runtime: Runtime,
  resources: readonly Resource[],
  options: ProvisionOptions,
): Promise<readonly Finding[]> {
  if (options.mode === "assume") return [];
  const topics = resources.filter(({ kind }) => kind === "topic");
  const findings = await provisionTopics(admin, runtime, topics, options);
  // A reader may make its group itself, so a missing one is no finding.
  if (options.mode === "verify") return findings;
  const groups = resources.filter(({ kind }) => kind === "group");
  const begun = await Promise.all(groups.map((group) => beginGroup(admin, group)));
  return [...findings, ...begun.flat()];
}

async function provisionTopics(
  admin: AdminClient,
  runtime: Runtime,
  resources: readonly Resource[],
  options: ProvisionOptions,
): Promise<readonly Finding[]> {
  const partitions = await Promise.all(resources.map(({ name }) => admin.partitions(name)));
  const missing = resources.filter((_resource, index) => partitions[index] === undefined);
  const made = options.mode === "create" ? await create(admin, runtime, missing, options) : missing.map(absent);
  const compared = await Promise.all(
    resources.map((resource, index) => {
      const actual = partitions[index];
      return actual === undefined ? Promise.resolve([]) : compare(admin, resource, actual);
    }),
  );
  return [...made, ...compared.flat()];
}

/** One topic that is refused does not keep the others from being made. */
async function create(
  admin: AdminClient,
  runtime: Runtime,
  resources: readonly Resource[],
  options: ProvisionOptions,
): Promise<readonly Finding[]> {
  if (resources.length === 0) return [];
  const refusals = await createAll(admin, resources, options);
  const made = resources.filter(({ name }) => !refusals.has(name));
  await Promise.all(made.map(({ name }) => untilUsable(admin, runtime, name, options.signal)));
  return resources.map((resource): Finding => {
    const refusal = refusals.get(resource.name);
    if (!refusal) return { resource, state: "created", detail: `kafka: created topic "${resource.name}"` };
    const failure = toDriverError(refusal, `cannot create topic "${resource.name}"`, adviceFor(refusal));
    if (failure.code !== "FORBIDDEN") throw failure;
    return { resource, state: "forbidden", detail: failure.message };
  });
}

/** Resolves to the reasons for those topics that were not made. */
async function createAll(
  admin: AdminClient,
  resources: readonly Resource[],
  options: ProvisionOptions,
): Promise<ReadonlyMap<string, unknown>> {
  const topics = resources.map(({ name, settings: { partitions, ...config } }) => ({
    name,
    partitions: Number(partitions),
    replicationFactor: options.replicationFactor,
    config: Object.fromEntries(Object.entries(config).map(([key, value]) => [key, String(value)])),
  }));
  try {
    await admin.createTopics(topics);
    return new Map();
  } catch (error) {
    const refusals = refusalsIn(error);
    if (refusals.size > 0) return refusals;
    const code = codeOfError(error);
    // Without the right to create, the answer names no topic.
    if (code === "FORBIDDEN") return new Map(resources.map(({ name }) => [name, error]));
    throw toDriverError(error, `cannot create topics`, adviceFor(error));
  }
}

/** Writes down where a group begins, unless it has begun already. */
async function beginGroup(admin: AdminClient, resource: Resource): Promise<readonly Finding[]> {
  const { name: groupId, settings } = resource;
  const topic = String(settings["topic"]);
  try {
    // n.b. ends first and commits second: whoever else has begun the group in between wins, or began it at the same place.
    const ends = await admin.ends(topic);
    const committed = await admin.committed(groupId, [topic]);
    if (committed.some(({ offset }) => offset !== undefined)) return [];
    const metadata = encodeJournal({ epoch: 0, born: ends.size, starts: [], finished: [] });
    await admin.commitIdle(
      groupId,
      [...ends].map(([partition, { high }]) => ({ topic, partition, offset: high, metadata })),
    );
    return [
      {
        resource,
        state: "created",
        detail: `kafka: group "${groupId}" begins with what is sent to "${topic}" from now on`,
      },
    ];
  } catch (error) {
    const failure = toDriverError(
      error,
      `cannot begin group "${groupId}"`,
      "grant Read on the group, or start its reader first",
    );
    // Lost: it has members, and they have begun it.
    if (failure.code === "LOST") return [];
    // The topic could not be made, and its own finding says so.
    if (failure.code === "NOT_FOUND") return [];
    if (failure.code === "FORBIDDEN") return [{ resource, state: "forbidden", detail: failure.message }];
    throw failure;
  }
}

const advice: Partial<Record<DriverErrorCode, string>> = {
  FORBIDDEN: "grant Create, or create it by hand",
  UNAVAILABLE: "check that the brokers are reachable",
  // n.b. Kafka's metrics fold "." and "_", so it refuses a name that differs from an existing one only there.
  CONFIG:
    'rename it if another topic differs from it only in "." and "_" (Kafka takes one of them), or correct its settings',
};

function adviceFor(error: unknown): string {
  return advice[codeOfError(error)] ?? "create it by hand";
}

/** The reasons by topic, where the client tells: an error that holds one per topic. Somebody else's creating is no failure. */
function refusalsIn(error: unknown): ReadonlyMap<string, unknown> {
  const refusals = new Map<string, unknown>();
  const errors: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "errors") : undefined;
  for (const one of Array.isArray(errors) ? errors : []) {
    if (typeof one !== "object" || one === null || !("topic" in one)) continue;
    if (Reflect.get(one, "type") !== "TOPIC_ALREADY_EXISTS") refusals.set(String(one.topic), one);
  }
  return refusals;
}

function absent(resource: Resource): Finding {
  const { name, settings } = resource;
  const detail = `kafka: topic "${name}" does not exist; create it with ${settings["partitions"]} partitions, or connect with provision: 'create'`;
  return { resource, state: "missing", detail };
}

/** A topic that somebody else has just created may not be known to every broker yet. */
async function untilUsable(admin: AdminClient, runtime: Runtime, topic: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await admin.partitions(topic)) === undefined) await sleep(runtime, pollMs, signal);
}

async function compare(admin: AdminClient, resource: Resource, partitions: number): Promise<readonly Finding[]> {
  const { name, settings } = resource;
  const findings: Finding[] = [];
  if (partitions !== settings["partitions"]) {
    findings.push({
      resource,
      state: "differs",
      detail: `kafka: topic "${name}" has ${partitions} partitions, declared are ${settings["partitions"]}; declare ${partitions} shards (adding partitions moves keys)`,
    });
  }
  const actual = await settingsOf(admin, name);
  const retention = Number(actual.get("retention.ms") ?? -1);
  const declared = settings["retention.ms"];
  if (typeof declared === "number" && retention >= 0 && retention < declared) {
    findings.push({
      resource,
      state: "loses-data",
      detail: `kafka: topic "${name}" keeps records for ${retention} ms, less than the ${declared} ms it needs; raise its retention.ms`,
    });
  }
  const policy = actual.get("cleanup.policy") ?? "delete";
  if (policy.includes("compact") && declared !== undefined) {
    findings.push({
      resource,
      state: "loses-data",
      detail: `kafka: topic "${name}" is compacted, which removes waiting records of the same key; set cleanup.policy to delete`,
    });
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
