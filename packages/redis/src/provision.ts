import { DriverError, type Finding, type ProvisionMode, type Resource } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import type { Names } from "./names.ts";
import { numberOf, textOf } from "./replies.ts";
import { look, make } from "./scripts/keep.ts";
import type { Server } from "./server.ts";
import type { Topics } from "./topics.ts";

export interface Work {
  readonly link: Link;
  readonly names: Names;
  readonly topics: Topics;
  readonly server: Server;
  readonly mode: ProvisionMode;
  readonly signal: AbortSignal;
  /** Groups that were there before: one that vanished begins with everything there is, or what was sent meanwhile would be lost. */
  readonly before: Set<string>;
}

/** What has to be there before the next kind is looked at. */
const stages: readonly (readonly string[])[] = [["server"], ["stream"], ["group", "own-entry", "dead-letters"]];
/** Resources that are made at the same time. */
const atOnce = 64;

/** Makes or checks resources. Findings, in their order, for everything that is not as it was before and right. */
export async function provision(resources: readonly Resource[], work: Work): Promise<readonly Finding[]> {
  const known = stages.flat();
  const stranger = resources.find(({ kind }) => !known.includes(kind));
  if (stranger) {
    throw new DriverError(
      "CONFIG",
      `redis: resource kind "${stranger.kind}" of "${stranger.name}" is not known; pass what topology() returned`,
    );
  }
  if (work.mode === "assume") return [];
  const findings = new Map<Resource, Finding>();
  const unusable = new Set<string>();
  for (const kinds of stages) {
    const stage = resources.filter(
      ({ kind, settings }) => kinds.includes(kind) && !unusable.has(String(settings["topic"])),
    );
    for (let index = 0; index < stage.length; index += atOnce) {
      await Promise.all(
        stage.slice(index, index + atOnce).map(async (resource) => {
          const finding = await one(resource, work);
          if (!finding) return;
          findings.set(resource, finding);
          if (resource.kind === "stream" && finding.state !== "created")
            unusable.add(String(resource.settings["topic"]));
        }),
      );
    }
  }
  return resources.flatMap((resource) => findings.get(resource) ?? []);
}

async function one(resource: Resource, work: Work): Promise<Finding | undefined> {
  if (resource.kind === "server") return serverFinding(resource, work.server);
  try {
    if (resource.kind === "stream") {
      const difference = await layout(resource, work);
      if (difference) return difference;
    }
    return await present(resource, work);
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
    if (error.code === "FORBIDDEN") {
      return { resource, state: "forbidden", detail: `${error.message}; ask the server's owner to create it` };
    }
    if (error.code === "MISMATCH") return { resource, state: "differs", detail: error.message };
    throw error;
  }
}

/** The number of shards is fixed when a topic is made: another one would put records of a key into two streams. */
async function layout(resource: Resource, work: Work): Promise<Finding | undefined> {
  const { link, names, topics, mode, signal } = work;
  const { topic, ordered, shards } = settingsOf(resource);
  const meta = names.meta(topic);
  const doing = `cannot look at topic "${topic}"`;
  const wanted = shape(ordered, shards);
  if (mode === "create") await link.ask(doing, (client) => client.hsetnx(meta, "layout", wanted), { signal });
  const found = await link.ask(doing, (client) => client.hget(meta, "layout"), { signal });
  // A foreign program's stream says nothing of itself, and is one.
  const current = found === null ? shape(false, 1) : textOf(found);
  if (current === wanted) {
    if (mode === "create") await link.ask(doing, (client) => client.hsetnx(meta, "shards", String(shards)), { signal });
    topics.learn(topic, shards);
    return undefined;
  }
  if (found === null && (await missing([names.stream(topic, 0)], "", work)) > 0) return undefined;
  const detail = `topic "${topic}" is ${current}, wanted ${wanted}; declare what it is, or use another topic`;
  return { resource, state: "differs", detail };
}

function shape(ordered: boolean, shards: number): string {
  return ordered ? `ordered with ${shards} shards` : "not ordered";
}

async function present(resource: Resource, work: Work): Promise<Finding | undefined> {
  const { mode, link, signal, before } = work;
  const { kind, name } = resource;
  const streams = streamsOf(resource, work.names);
  const group = kind === "group" || kind === "own-entry" ? String(resource.settings["group"]) : "";
  if (mode === "verify") {
    if ((await missing(streams, group, work)) === 0) return undefined;
    return {
      resource,
      state: "missing",
      detail: `${kind} "${name}" does not exist; create it, or connect with provision: 'create'`,
    };
  }
  const start = kind === "group" && resource.settings["start"] === "now" && !before.has(name) ? "$" : "0";
  const made = await link.run(`cannot create ${kind} "${name}"`, make, streams, [group, start], { signal });
  before.add(name);
  return numberOf(made) > 0 ? { resource, state: "created", detail: `${kind} "${name}" was created` } : undefined;
}

/** How many of them do not exist, or have no such group. */
export async function missing(
  streams: readonly string[],
  group: string,
  work: Pick<Work, "link" | "signal">,
): Promise<number> {
  return numberOf(
    await work.link.run(`cannot look at "${streams[0]}"`, look, streams, [group], { signal: work.signal }),
  );
}

function streamsOf(resource: Resource, names: Names): readonly string[] {
  const { topic, shards } = settingsOf(resource);
  const group = String(resource.settings["group"]);
  if (resource.kind === "dead-letters") return [names.deadLetters(topic, group)];
  const all = Array.from({ length: shards }, (_, shard) => shard);
  if (resource.kind === "own-entry") return all.map((shard) => names.own(topic, group, shard));
  return all.map((shard) => names.stream(topic, shard));
}

function settingsOf({ settings }: Resource): { topic: string; ordered: boolean; shards: number } {
  return {
    topic: String(settings["topic"]),
    ordered: settings["ordered"] === true,
    shards: Number(settings["shards"] ?? 1),
  };
}

function serverFinding(resource: Resource, { eviction, appendOnly, replicas }: Server): Finding | undefined {
  if (resource.name === "eviction") {
    if (eviction === undefined || eviction === "noeviction") return undefined;
    return {
      resource,
      state: "loses-data",
      detail: `redis: maxmemory-policy is ${eviction}: the server deletes messages when memory is full; set it to noeviction`,
    };
  }
  if (appendOnly !== false || replicas > 0) return undefined;
  return {
    resource,
    state: "loses-data",
    detail:
      "redis: the server has neither an append-only file nor a replica: a restart loses every message; set appendonly yes",
  };
}
