import {
  type BroadcastSource,
  type ConnectContext,
  type DeadLetterSource,
  DriverError,
  type DriverEvent,
  type GroupSource,
  type Receiver,
  type ReceiverOptions,
  type Source,
} from "@sluice/core/driver";
import { Cluster } from "ioredis";
import { BroadcastReceiver, type StreamPosition } from "./broadcast.ts";
import { Link } from "./client.ts";
import { DeadLetterReceiver } from "./dead-letters.ts";
import type { Delays } from "./delays.ts";
import { type Lane, lanesOf } from "./lanes.ts";
import type { Names } from "./names.ts";
import type { Settings } from "./options.ts";
import { Poller, type Watcher } from "./poller.ts";
import { missing } from "./provision.ts";
import { Reader } from "./reader.ts";
import { GroupReceiver } from "./receiver.ts";
import { consumerName, leaveGroup } from "./scripts/read.ts";
import { ShardSet } from "./shards.ts";
import { slotOf, type Together } from "./slots.ts";
import type { Stores } from "./stores.ts";
import type { Topics } from "./topics.ts";
import type { Trimmer } from "./trimmer.ts";

/** What outlives connections, in this process. */
export interface Memory {
  /** Consumers that are gone with their connection, by what they read: what they held is ours. */
  readonly orphans: Map<string, Set<string>>;
  /** How far each broadcast instance got. */
  readonly positions: Map<string, StreamPosition>;
  /** Groups that existed. */
  readonly before: Set<string>;
  /** Part of consumer names: two living processes never share one. */
  readonly instance: string;
  consumers: number;
}

export interface SourcesParts {
  readonly context: ConnectContext;
  readonly settings: Settings;
  readonly names: Names;
  readonly commands: Link;
  readonly together: Together;
  readonly memory: Memory;
  readonly topics: Topics;
  readonly stores: Stores;
  readonly delays: Delays;
  readonly trimmer: Trimmer;
}

/** A consumer without entries that was idle for so long is removed. */
export const idleConsumerMs = 3_600_000;
/** Longest block of a reader, and how late its answer may be. */
const blockMs = 5_000;
const graceMs = 3_000;

/** Opens what reads the sources. @throws DriverError NOT_FOUND when something is missing */
export async function openReceiver(
  sources: readonly Source[],
  options: ReceiverOptions,
  parts: SourcesParts,
): Promise<Receiver> {
  const [first] = sources;
  if (first === undefined) throw new DriverError("CONFIG", "redis: there is nothing to read; name a source");
  if (isDeadLetters(first)) return openDeadLetters(first, options, parts);
  const groups = sources.filter(isGroup);
  const broadcasts = sources.filter(isBroadcast);
  if (groups.length === sources.length) return openGroup(groups, options, parts);
  if (broadcasts.length === sources.length) return openBroadcast(broadcasts, options, parts);
  throw new DriverError("UNSUPPORTED", "redis: one receiver reads groups or broadcasts; delays need no reader");
}

function isGroup(source: Source): source is GroupSource {
  return "group" in source && source.deadLetter === undefined;
}

function isBroadcast(source: Source): source is BroadcastSource {
  return "broadcast" in source;
}

function isDeadLetters(source: Source): source is DeadLetterSource {
  return "deadLetter" in source && source.deadLetter === true;
}

async function openDeadLetters(
  source: DeadLetterSource,
  options: ReceiverOptions,
  parts: SourcesParts,
): Promise<Receiver> {
  const stream = parts.names.deadLetters(source.topic, source.group);
  await mustExist([stream], "", source.topic, parts);
  return DeadLetterReceiver.open({ link: parts.commands, source, stream }, options.window);
}

async function openBroadcast(
  sources: readonly BroadcastSource[],
  options: ReceiverOptions,
  parts: SourcesParts,
): Promise<Receiver> {
  const { commands, together, memory, names, topics, context } = parts;
  const streams: { stream: string; source: BroadcastSource }[] = [];
  for (const source of sources) {
    const shards = await topics.shards(source.topic);
    for (let shard = 0; shard < shards; shard++) streams.push({ stream: names.stream(source.topic, shard), source });
  }
  const reader = await openReader(streams, parts);
  try {
    const report = (event: DriverEvent) => context.report(event);
    const { positions } = memory;
    const { runtime } = context;
    return await BroadcastReceiver.open({
      link: commands,
      reader,
      runtime,
      options,
      streams,
      together,
      positions,
      report,
    });
  } catch (error) {
    reader.close();
    throw error;
  }
}

async function openGroup(
  sources: readonly GroupSource[],
  options: ReceiverOptions,
  parts: SourcesParts,
): Promise<Receiver> {
  const { commands, memory, settings, context, delays } = parts;
  const group = sources[0]?.group ?? "";
  if (sources.some((source) => source.group !== group)) {
    throw new DriverError("UNSUPPORTED", "redis: one receiver reads one group; open another for the others");
  }
  const consumer = consumerName(`${context.clientName}-${memory.instance}-${++memory.consumers}`, settings.leaseMs);
  const callbacks: { receiver: GroupReceiver | undefined } = { receiver: undefined };
  const { lanes, shardSets } = await planLanes(sources, options.ordered, consumer, parts, callbacks);
  for (const part of parts.together(lanes)) {
    await mustExist(
      part.map((lane) => lane.stream),
      group,
      part[0]?.source.topic ?? "",
      parts,
    );
  }
  const key = [group, ...sources.map((source) => source.topic)].join("\0");
  const orphans = memory.orphans.get(key) ?? new Set();
  memory.orphans.set(key, orphans);
  const reader = await openReader(lanes, parts);
  const receiver = new GroupReceiver({
    link: commands,
    reader,
    runtime: context.runtime,
    options,
    group,
    consumer,
    leaseMs: settings.leaseMs,
    lanes,
    orphans,
    shardSets,
    together: parts.together,
    topics: parts.topics,
    stores: parts.stores,
    report: (event) => context.report(event),
    delayed: (topic, ms) => delays.delayed(topic, ms),
    settled: (lane) => lane.own || parts.trimmer.settled(lane.stream),
    abandoned: (name) => orphans.add(name),
    leave: (name) => leave(lanes, group, name, parts),
  });
  callbacks.receiver = receiver;
  try {
    await receiver.start();
  } catch (error) {
    await receiver.close(AbortSignal.abort());
    throw error;
  }
  for (const source of sources) delays.watch(source.topic);
  return receiver;
}

/** What is read: all shards of every topic, or those of which the leases are ours. */
async function planLanes(
  sources: readonly GroupSource[],
  ordered: boolean,
  consumer: string,
  parts: SourcesParts,
  callbacks: { readonly receiver: GroupReceiver | undefined },
): Promise<{ readonly lanes: readonly Lane[]; readonly shardSets: readonly ShardSet[] }> {
  const shardSets: ShardSet[] = [];
  const lanes: Lane[] = [];
  for (const source of sources) {
    const shards = await parts.topics.shards(source.topic);
    if (!ordered) {
      lanes.push(...lanesOf(source, parts.names, Array.from({ length: shards })));
      continue;
    }
    const set = shardSetOf(source, shards, consumer, parts, callbacks);
    shardSets.push(set);
    lanes.push(...lanesOf(source, parts.names, set.shards));
  }
  return { lanes, shardSets };
}

function shardSetOf(
  source: GroupSource,
  shards: number,
  consumer: string,
  { commands, context, settings, names }: SourcesParts,
  callbacks: { readonly receiver: GroupReceiver | undefined },
): ShardSet {
  const { topic, group } = source;
  const all = Array.from({ length: shards }, (_, shard) => shard);
  return new ShardSet({
    link: commands,
    runtime: context.runtime,
    consumer,
    group,
    leaseMs: settings.leaseMs,
    members: names.members(topic, group),
    meta: names.meta(topic),
    leases: all.map((shard) => names.lease(topic, group, shard)),
    streams: all.map((shard) => [names.stream(topic, shard), names.own(topic, group, shard)]),
    gained: (some) => callbacks.receiver?.gained(some),
    lost: (some) => callbacks.receiver?.lose(some),
    giveUp: (some) => void callbacks.receiver?.release(some),
    failed: (error) => void error, // The lease runs out by itself, and a lost connection says so itself.
  });
}

async function leave(lanes: readonly Lane[], group: string, consumer: string, parts: SourcesParts): Promise<void> {
  await Promise.all(
    parts.together(lanes).map((part) => {
      const streams = part.map((lane) => lane.stream);
      return parts.commands.run(`cannot leave group "${group}"`, leaveGroup, streams, [
        group,
        consumer,
        idleConsumerMs,
      ]);
    }),
  );
}

async function mustExist(
  streams: readonly string[],
  group: string,
  topic: string,
  { commands }: SourcesParts,
): Promise<void> {
  const { signal } = new AbortController();
  if ((await missing(streams, group, { link: commands, signal })) === 0) return;
  const what = group === "" ? "or its dead letters do not exist" : `or its group "${group}" does not exist`;
  const which = streams.length > 2 ? `one of ${streams.length} streams around "${topic}"` : `"${topic}"`;
  throw new DriverError("NOT_FOUND", `redis: topic ${which} ${what}; create it, or connect with provision: 'create'`);
}

/** A socket of its own; in a cluster on the node that has the streams. */
async function openReader(
  streams: readonly { readonly stream: string }[],
  { commands, context, settings, together }: SourcesParts,
): Promise<Watcher> {
  const { runtime, clientName } = context;
  let node: { readonly host: string; readonly port: number } | undefined;
  if (commands.native instanceof Cluster) {
    if (together(streams).length > 1) return new Poller(commands, runtime, together);
    node = nodeOf(commands.native, slotOf(streams[0]?.stream ?? ""));
    if (!node) return new Poller(commands, runtime, together);
  }
  const link = await Link.open({ settings, runtime, who: "redis", name: `${clientName} reader`, node });
  try {
    const block = Math.min(blockMs, Math.ceil(settings.answerMs / 2));
    const grace = Math.min(graceMs, Math.ceil(settings.answerMs / 2));
    return await Reader.open({ link, commands, runtime, blockMs: block, graceMs: grace });
  } catch (error) {
    link.destroy();
    throw error;
  }
}

/** The master of a slot, as the client knows it now. */
function nodeOf(cluster: Cluster, slot: number): { readonly host: string; readonly port: number } | undefined {
  const address = cluster.slots[slot]?.[0];
  const at = address?.lastIndexOf(":") ?? -1;
  return address === undefined || at < 0
    ? undefined
    : { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
}
