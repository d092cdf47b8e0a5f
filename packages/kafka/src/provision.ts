import {
  type DriverErrorCode,
  type Finding,
  type ProvisionMode,
  type Resource,
  type Runtime,
  sleep,
} from "@sluice/core/driver";
import type { AdminClient, CommitPosition, Ends } from "./client.ts";
import { codeOfError, forbiddenTopic, toDriverError } from "./errors.ts";
import { encodeJournal } from "./journal.ts";

const pollMs = 50;

export interface ProvisionOptions {
  readonly mode: ProvisionMode;
  readonly replicationFactor: number;
  readonly signal: AbortSignal;
  /** Group and topic, with a blank between them, where the topic was deleted while it was read here: the group has begun already. */
  readonly vanished: ReadonlySet<string>;
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
  const groups = resources.filter(({ kind, settings }) => kind === "group" && settings["start"] === "now");
  // n.b. what is in a topic that somebody else made again came while the reader was away: it begins with the first record.
  const fresh = groups.filter((resource) => !options.vanished.has(`${resource.name} ${topicOf(resource)}`));
  return [...findings, ...(await beginGroups(admin, fresh))];
}

/** n.b. ends first and commits second: whoever else has begun a group in between wins, or began it at the same place. */
async function beginGroups(admin: AdminClient, resources: readonly Resource[]): Promise<readonly Finding[]> {
  if (resources.length === 0) return [];
  // What could not be made has its own finding.
  const { partitions: made } = await admin.look([...new Set(resources.map(topicOf))]);
  const ends = await admin.ends([...made.keys()]);
  const groups = Map.groupBy(
    resources.filter((resource) => made.has(topicOf(resource))),
    ({ name }) => name,
  );
  const begun = await Promise.all([...groups].map(([name, members]) => beginGroup(admin, name, members, ends)));
  return begun.flat();
}

function topicOf({ settings }: Resource): string {
  return String(settings["topic"]);
}

async function provisionTopics(
  admin: AdminClient,
  runtime: Runtime,
  resources: readonly Resource[],
  options: ProvisionOptions,
): Promise<readonly Finding[]> {
  const { partitions, forbidden } = await admin.look(resources.map(({ name }) => name));
  const missing = resources.filter(({ name }) => !partitions.has(name) && !forbidden.has(name));
  const made = options.mode === "create" ? await create(admin, runtime, missing, options) : missing.map(absent);
  const settings = await settingsOf(admin, [...partitions.keys()]);
  const compared = resources.flatMap((resource) => {
    const actual = partitions.get(resource.name);
    return actual === undefined ? [] : compare(resource, actual, settings.get(resource.name) ?? new Map());
  });
  const hidden = resources.flatMap((resource): Finding[] => {
    const reason = forbidden.get(resource.name);
    return reason === undefined
      ? []
      : [{ resource, state: "forbidden", detail: forbiddenTopic(resource.name, reason).message }];
  });
  return [...hidden, ...made, ...compared];
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
  await untilUsable(
    admin,
    runtime,
    made.map(({ name }) => name),
    options.signal,
  );
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

/** Writes down where a group begins, in those topics where it has not begun already. */
async function beginGroup(
  admin: AdminClient,
  groupId: string,
  resources: readonly Resource[],
  ends: Ends,
): Promise<readonly Finding[]> {
  try {
    const committed = await admin.committed(groupId, resources.map(topicOf));
    const known = new Set(committed.flatMap(({ topic, offset }) => (offset === undefined ? [] : [topic])));
    const fresh = resources.filter((resource) => !known.has(topicOf(resource)));
    if (fresh.length === 0) return [];
    await admin.commitIdle(
      groupId,
      fresh.flatMap((resource) => beginnings(topicOf(resource), ends)),
    );
    return fresh.map((resource): Finding => {
      const detail = `kafka: group "${groupId}" begins with what is sent to "${topicOf(resource)}" from now on`;
      return { resource, state: "created", detail };
    });
  } catch (error) {
    const remedy = "grant Read on the group, or start its reader first";
    const failure = toDriverError(error, `cannot begin group "${groupId}"`, remedy);
    // It has members. They have begun it, or their receiver does when it opens.
    if (failure.code === "LOST") return [];
    if (failure.code !== "FORBIDDEN") throw failure;
    return resources.map((resource): Finding => ({ resource, state: "forbidden", detail: failure.message }));
  }
}

function beginnings(topic: string, ends: Ends): readonly CommitPosition[] {
  const partitions = [...(ends.get(topic) ?? [])];
  const metadata = encodeJournal({ epoch: 0, born: partitions.length, starts: [], finished: [] });
  return partitions.map(([partition, { high }]) => ({ topic, partition, offset: high, metadata }));
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

/** A topic that has just been created is not known to every broker yet, and its leaders are still making its partitions. */
async function untilUsable(
  admin: AdminClient,
  runtime: Runtime,
  topics: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      if ((await admin.partitions(topics)).size === topics.length) {
        await admin.ends(topics);
        return;
      }
    } catch (error) {
      if (codeOfError(error) !== "UNAVAILABLE") throw error;
    }
    await sleep(runtime, pollMs, signal);
  }
}

function compare(resource: Resource, partitions: number, actual: ReadonlyMap<string, string>): readonly Finding[] {
  const { name, settings } = resource;
  const findings: Finding[] = [];
  if (partitions !== settings["partitions"]) {
    findings.push({
      resource,
      state: "differs",
      detail: `kafka: topic "${name}" has ${partitions} partitions, declared are ${settings["partitions"]}; declare ${partitions} shards (adding partitions moves keys)`,
    });
  }
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
async function settingsOf(
  admin: AdminClient,
  topics: readonly string[],
): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
  try {
    return topics.length === 0 ? new Map() : await admin.settings(topics);
  } catch {
    return new Map();
  }
}
