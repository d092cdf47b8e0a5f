import type { Admin, Cluster } from "kafkajs";
import type { Runtime } from "@sluice/core/driver";
import type {
  AdminClient,
  ClientRecord,
  CommitPosition,
  CommittedOffset,
  PartitionRead,
  TopicPartition,
} from "../client.ts";
import { codeOfError } from "../errors.ts";
import { brokerOf, coordinatorOf, retrying } from "./cluster.ts";

/** n.b. kafkajs has a name for it that an ES module cannot import. */
const topicResource = 2;
const readCommitted = 1;
const earliest = -2;
const latest = -1;
const readBytes = 1_048_576;
const readWaitMs = 100;

/**
 * The connection that takes and joins nothing. n.b. kafkajs' own calls for offsets keep a list of topics on the client: calls at the
 * same time see half of it, and one topic that is deleted later fails every call after it. So only creating and describing go through them.
 */
export function adminClient(admin: Admin, cluster: Cluster, runtime: Runtime): AdminClient {
  return {
    missing: (topics) => retrying(runtime, () => firstMissing(cluster, topics)),
    partitions: async (topic) => (await retrying(runtime, () => leadersOf(cluster, topic)))?.size,
    async settings(topic) {
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: topicResource, name: topic }],
      });
      return new Map(resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]));
    },
    async createTopics(topics) {
      await admin.createTopics({
        waitForLeaders: false,
        topics: topics.map(({ name, partitions, replicationFactor, config }) => {
          const configEntries = Object.entries(config).map(([key, value]) => ({ name: key, value }));
          return { topic: name, numPartitions: partitions, replicationFactor, configEntries };
        }),
      });
    },
    ends: (topic) => retrying(runtime, () => endsOf(cluster, topic)),
    committed: (groupId, topics) => retrying(runtime, () => committedOf(cluster, groupId, topics)),
    committedAt: (groupId, places) => retrying(runtime, () => committedAt(cluster, groupId, places)),
    commitIdle: (groupId, positions) => retrying(runtime, () => commitIdle(cluster, groupId, positions)),
    read: (topic, partition, from) => retrying(runtime, () => read(cluster, topic, partition, from)),
    async ping() {
      await admin.describeCluster();
    },
  };
}

/** Leader of every partition; `undefined` when the topic does not exist. Throws while a partition has none. */
async function leadersOf(cluster: Cluster, topic: string): Promise<ReadonlyMap<number, number> | undefined> {
  const broker = await brokerOf(cluster);
  try {
    const { topicMetadata } = await broker.metadata([topic]);
    const found = topicMetadata.find((one) => one.topic === topic);
    return new Map(found?.partitionMetadata.map(({ partitionId, leader }) => [partitionId, leader]));
  } catch (error) {
    if (codeOfError(error) === "NOT_FOUND") return undefined;
    throw error;
  }
}

/** One request when all exist, which is the rule. */
async function firstMissing(cluster: Cluster, topics: readonly string[]): Promise<string | undefined> {
  const broker = await brokerOf(cluster);
  try {
    await broker.metadata([...topics]);
    return undefined;
  } catch (error) {
    if (codeOfError(error) !== "NOT_FOUND") throw error;
    const leaders = await Promise.all(topics.map((topic) => leadersOf(cluster, topic)));
    return topics.find((_topic, index) => leaders[index] === undefined);
  }
}

async function existing(cluster: Cluster, topic: string): Promise<ReadonlyMap<number, number>> {
  const leaders = await leadersOf(cluster, topic);
  if (!leaders)
    throw Object.assign(new Error(`topic "${topic}" does not exist`), { type: "UNKNOWN_TOPIC_OR_PARTITION" });
  return leaders;
}

async function endsOf(cluster: Cluster, topic: string): Promise<ReadonlyMap<number, { low: number; high: number }>> {
  const leaders = await existing(cluster, topic);
  const byLeader = Map.groupBy(leaders.keys(), (partition) => leaders.get(partition) ?? -1);
  const parts = await Promise.all([...byLeader].map(([leader, ids]) => offsetsAt(cluster, leader, topic, ids)));
  return new Map(parts.flat());
}

async function offsetsAt(
  cluster: Cluster,
  leader: number,
  topic: string,
  ids: readonly number[],
): Promise<readonly [number, { low: number; high: number }][]> {
  const broker = await brokerOf(cluster, leader);
  const list = async (timestamp: number): Promise<ReadonlyMap<number, number>> => {
    const partitions = ids.map((partition) => ({ partition, timestamp }));
    const { responses } = await broker.listOffsets({ isolationLevel: readCommitted, topics: [{ topic, partitions }] });
    return new Map(
      responses.flatMap((one) => one.partitions.map(({ partition, offset }) => [partition, Number(offset)] as const)),
    );
  };
  const [lows, highs] = await Promise.all([list(earliest), list(latest)]);
  return ids.map((id) => [id, { low: lows.get(id) ?? 0, high: highs.get(id) ?? 0 }]);
}

async function committedOf(
  cluster: Cluster,
  groupId: string,
  topics: readonly string[],
): Promise<readonly CommittedOffset[]> {
  const places = await Promise.all(
    topics.map(async (topic) =>
      [...(await existing(cluster, topic)).keys()].map((partition) => ({ topic, partition })),
    ),
  );
  return committedAt(cluster, groupId, places.flat());
}

async function committedAt(
  cluster: Cluster,
  groupId: string,
  places: readonly TopicPartition[],
): Promise<readonly CommittedOffset[]> {
  if (places.length === 0) return [];
  const topics = [...Map.groupBy(places, ({ topic }) => topic)].map(([topic, partitions]) => ({
    topic,
    partitions: partitions.map(({ partition }) => ({ partition })),
  }));
  const coordinator = await coordinatorOf(cluster, groupId);
  const { responses } = await coordinator.offsetFetch({ groupId, topics });
  return responses.flatMap(({ topic, partitions }) =>
    partitions.map(({ partition, offset, metadata }): CommittedOffset => {
      const number = Number(offset);
      return { topic, partition, offset: number < 0 ? undefined : number, metadata: metadata ?? "" };
    }),
  );
}

/** The way of a consumer without group membership: no member, no generation. */
async function commitIdle(cluster: Cluster, groupId: string, positions: readonly CommitPosition[]): Promise<void> {
  const topics = [...Map.groupBy(positions, ({ topic }) => topic)].map(([topic, partitions]) => ({
    topic,
    partitions: partitions.map(({ partition, offset, metadata }) => ({ partition, offset: String(offset), metadata })),
  }));
  const coordinator = await coordinatorOf(cluster, groupId);
  await coordinator.offsetCommit({ groupId, groupGenerationId: -1, memberId: "", topics });
}

async function read(cluster: Cluster, topic: string, partition: number, from: number): Promise<PartitionRead> {
  const leader = (await existing(cluster, topic)).get(partition);
  const broker = await brokerOf(cluster, leader);
  const answer = await broker.fetch({
    maxWaitTime: readWaitMs,
    minBytes: 1,
    maxBytes: readBytes,
    isolationLevel: readCommitted,
    topics: [{ topic, partitions: [{ partition, fetchOffset: String(from), maxBytes: readBytes }] }],
  });
  const messages = answer.responses.flatMap((one) => one.partitions.flatMap((part) => part.messages));
  // The broker answers with whole batches: the first may begin before the offset that was asked for.
  const records: readonly ClientRecord[] = messages.filter(
    ({ offset, isControlRecord }) => Number(offset) >= from && !isControlRecord,
  );
  const last = messages.at(-1);
  return { records, next: last ? Math.max(from, Number(last.offset) + 1) : from };
}
