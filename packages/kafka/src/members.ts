import { DriverError, type Source } from "@sluice/core/driver";
import type { MemberContext, Membering } from "./membering.ts";
import type { TopicSource } from "./starts.ts";

/** Partitions of one consumer, about. n.b. every fetch names all of them, at some 40 µs of processor time each. */
const partitionsPerConsumer = 128;
/** Consumers that one receiver may open: each has two sockets per broker, and a heartbeat. */
const maxConsumers = 100;
const manyPartitions = 20;
const waitPerPartitionMs = 50;

/**
 * Which consumers a receiver needs: one for each Kafka group, and more where a group has many partitions. Topics are spread evenly,
 * each with its group's own entry beside it.
 *
 * @throws DriverError `NOT_FOUND` for a topic that does not exist, `CONFIG` when it would take too many consumers
 */
export async function membersOf(sources: readonly Source[], context: MemberContext): Promise<readonly Membering[]> {
  const { client, config } = context;
  const { names, fetchWait, sessionTimeout } = config;
  const partitions = await client.admin.partitions(sources.flatMap((source) => names.topics(source)));
  const groups = Map.groupBy(sources, (source) => names.groupId(source));
  const members: Membering[] = [];
  for (const [groupId, theirs] of groups) {
    for (const part of parts(theirs, (source) => weightOf(names.topics(source), partitions))) {
      const topics = new Map(part.flatMap((source) => topicsOf(source, names.topics(source))));
      const weight = weightOf([...topics.keys()], partitions);
      // A consumer of many partitions asks less often; all the same a heartbeat has to go out several times a session.
      const patient = weight <= manyPartitions ? 0 : Math.min(weight * waitPerPartitionMs, sessionTimeout / 6);
      const suffix = members.length === 0 ? "" : `#${members.length}`;
      members.push({ groupId, suffix, topics, fetchWait: Math.max(fetchWait, Math.floor(patient)) });
    }
  }
  if (members.length <= maxConsumers) return members;
  throw new DriverError(
    "CONFIG",
    `kafka: a subscription to ${sources.length} topics would open ${members.length} consumers, above the ${maxConsumers} of one subscription; set sharedGroups: true in every process of the group, or make several subscriptions`,
  );
}

function topicsOf(source: Source, [first, ...own]: readonly string[]): (readonly [string, TopicSource])[] {
  const topics = own.map((topic) => [topic, { topic, source, entry: !("delayed" in source) }] as const);
  return first === undefined ? [] : [[first, { topic: first, source, entry: false }], ...topics];
}

/** @throws DriverError `NOT_FOUND` */
function weightOf(topics: readonly string[], partitions: ReadonlyMap<string, number>): number {
  return topics.reduce((sum, topic) => {
    const count = partitions.get(topic);
    if (count !== undefined) return sum + count;
    const problem = `kafka: topic "${topic}" does not exist; create it, or connect with provision: 'create'`;
    throw new DriverError("NOT_FOUND", problem);
  }, 0);
}

/** In order, into as few parts of equal weight as the limit allows. */
function parts(sources: readonly Source[], weigh: (source: Source) => number): readonly (readonly Source[])[] {
  const weights = sources.map(weigh);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const share = total / Math.max(1, Math.ceil(total / partitionsPerConsumer));
  const found: Source[][] = [];
  let before = 0;
  for (const [index, source] of sources.entries()) {
    const weight = weights[index] ?? 0;
    // By its middle, so that a large one does not join those that fill a part already.
    (found[Math.floor((before + weight / 2) / share)] ??= []).push(source);
    before += weight;
  }
  return found.filter((part) => part !== undefined);
}
