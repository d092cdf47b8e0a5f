import { DriverError } from "@sluice/core/driver";
import type { Declaration, DeclaredTopic, Finding, ProvisionMode, Resource } from "@sluice/core/driver";
import type { Engine } from "./engine.ts";

/** What must exist for a declaration: a topic, its groups, and per group an own entry and a list of dead letters. */
export function topology(declaration: Declaration): readonly Resource[] {
  return declaration.topics.flatMap(topicResources);
}

function topicResources(topic: DeclaredTopic): Resource[] {
  const { name, ordered } = topic;
  // Without an order there is nothing to shard: one queue, any number of competing members.
  const shards = ordered ? topic.shards : 1;
  const resources: Resource[] = [{ kind: "topic", name, settings: { topic: name, ordered, shards } }];
  for (const group of topic.groups) {
    const settings = { topic: name, group: group.name };
    const place = `${escape(name)}/${escape(group.name)}`;
    resources.push({ kind: "group", name: place, settings: { ...settings, start: group.start } });
    if (group.retry) resources.push({ kind: "own-entry", name: `${place}/own`, settings });
    if (group.deadLetter) resources.push({ kind: "dead-letters", name: `${place}/dead-letters`, settings });
  }
  return resources;
}

/** Makes what is missing, or only reports it. Never changes what exists. Throws `CONFIG` for a name above the limit. */
export function provision(
  engine: Engine,
  resources: readonly Resource[],
  mode: ProvisionMode,
  nameBytes: number,
): readonly Finding[] {
  if (mode === "assume") return [];
  const findings: Finding[] = [];
  for (const resource of resources) {
    checkNames(resource, nameBytes);
    const finding = exists(engine, resource) ? differs(engine, resource) : missing(engine, resource, mode);
    if (finding !== undefined) findings.push(finding);
  }
  return findings;
}

function missing(engine: Engine, resource: Resource, mode: ProvisionMode): Finding {
  const thing = `memory: ${resource.kind} "${resource.name}"`;
  if (mode === "verify") {
    return { resource, state: "missing", detail: `${thing} does not exist; connect with provision: 'create'` };
  }
  create(engine, resource);
  return { resource, state: "created", detail: `${thing} was created` };
}

function exists(engine: Engine, { kind, settings }: Resource): boolean {
  const topic = engine.topics.get(String(settings["topic"]));
  if (kind === "topic") return topic !== undefined;
  const group = topic?.groups.get(String(settings["group"]));
  if (kind === "group") return group !== undefined;
  return kind === "own-entry" ? group?.ownEntry === true : group?.deadLetters !== undefined;
}

function create(engine: Engine, { kind, settings }: Resource): void {
  const name = String(settings["topic"]);
  if (kind === "topic") {
    engine.createTopic(name, settings["ordered"] === true, Number(settings["shards"]));
    return;
  }
  const groupName = String(settings["group"]);
  if (kind === "group") {
    engine.createGroup(engine.topic(name), groupName, settings["start"] === "earliest" ? "earliest" : "now");
  } else if (kind === "own-entry") {
    engine.group(name, groupName).ownEntry = true;
  } else {
    engine.addDeadLetters(engine.group(name, groupName));
  }
}

function differs(engine: Engine, resource: Resource): Finding | undefined {
  if (resource.kind !== "topic") return undefined;
  const { settings, name } = resource;
  const topic = engine.topic(name);
  if (topic.ordered === settings["ordered"] && topic.shards === settings["shards"]) return undefined;
  const wanted = describe(settings["ordered"] === true, Number(settings["shards"]));
  return {
    resource,
    state: "differs",
    detail: `memory: topic "${name}" is ${describe(topic.ordered, topic.shards)}, declared is ${wanted}; declare what exists, or use a new topic`,
  };
}

function describe(ordered: boolean, shards: number): string {
  return ordered ? `ordered with ${shards} shards` : "not ordered";
}

/** Two names that differ stay different when they are joined by a slash. */
function escape(name: string): string {
  return name.replace(/[%/]/g, encodeURIComponent);
}

function checkNames({ settings }: Resource, nameBytes: number): void {
  for (const kind of ["topic", "group"]) {
    const name = settings[kind];
    if (typeof name !== "string") continue;
    const bytes = Buffer.byteLength(name);
    if (bytes > 0 && bytes <= nameBytes) continue;
    const shown = name.length > 40 ? `${name.slice(0, 40)}…` : name;
    throw new DriverError("CONFIG", `memory: ${kind} name "${shown}" has ${bytes} bytes; use 1 to ${nameBytes}`);
  }
}
