import type { Admin, Cluster } from "kafkajs";
import type { Runtime } from "@sluice/core/driver";
import type {
  AdminClient,
  ClientRecord,
  CommitPosition,
  CommittedOffset,
  Ends,
  PartitionRead,
  TopicPartition,
} from "../client.ts";
import { codeOfError, forbiddenTopic } from "../errors.ts";
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
    async partitions(topics) {
      return sizes(allowed(await retrying(runtime, () => leadersOf(cluster, topics))));
    },
    async look(topics) {
      const { leaders, forbidden } = await retrying(runtime, () => leadersOf(cluster, topics));
      return { partitions: sizes(leaders), forbidden };
    },
    async settings(topics) {
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: topics.map((name) => ({ type: topicResource, name })),
      });
      return new Map(
        resources.map(({ resourceName, configEntries }) => [
          resourceName,
          new Map(configEntries.map(({ configName, configValue }) => [configName, configValue])),
        ]),
      );
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
    ends: (topics) => retrying(runtime, () => endsOf(cluster, topics)),
    offsetsFrom: (topic, time) => retrying(runtime, () => offsetsFrom(cluster, topic, time)),
    committed: (groupId, topics) => retrying(runtime, () => committedOf(cluster, groupId, topics)),
    committedAt: (groupId, places) => retrying(runtime, () => committedAt(cluster, groupId, places)),
    commitIdle: (groupId, positions) => retrying(runtime, () => commitIdle(cluster, groupId, positions)),
    read: (topic, partition, from) => retrying(runtime, () => read(cluster, topic, partition, from)),
    async ping() {
      await admin.describeCluster();
    },
  };
}

/** By topic and partition. */
type Leaders = ReadonlyMap<string, ReadonlyMap<number, number>>;

interface Found {
  readonly leaders: Leaders;
  /** Topics that we may not see, and the broker's answer. */
  readonly forbidden: ReadonlyMap<string, unknown>;
}

/**
 * Leader of every partition of those topics that exist and may be seen. Throws while a partition has none. n.b. one topic that is
 * missing or forbidden fails the whole answer, and it is not said which: halves are asked, until it stands alone.
 */
async function leadersOf(cluster: Cluster, topics: readonly string[]): Promise<Found> {
  if (topics.length === 0) return { leaders: new Map(), forbidden: new Map() };
  const broker = await brokerOf(cluster);
  try {
    const { topicMetadata } = await broker.metadata([...topics]);
    const leaders = new Map(
      topicMetadata.map(({ topic, partitionMetadata }) => [
        topic,
        new Map(partitionMetadata.map(({ partitionId, leader }) => [partitionId, leader])),
      ]),
    );
    return { leaders, forbidden: new Map() };
  } catch (error) {
    const code = codeOfError(error);
    if (code !== "NOT_FOUND" && code !== "FORBIDDEN") throw error;
    const [only, ...others] = topics;
    if (only !== undefined && others.length === 0) {
      return { leaders: new Map(), forbidden: new Map(code === "FORBIDDEN" ? [[only, error]] : []) };
    }
    const middle = Math.ceil(topics.length / 2);
    const halves = [topics.slice(0, middle), topics.slice(middle)];
    const found = await Promise.all(halves.map((half) => leadersOf(cluster, half)));
    return {
      leaders: new Map(found.flatMap((half) => [...half.leaders])),
      forbidden: new Map(found.flatMap((half) => [...half.forbidden])),
    };
  }
}

function sizes(leaders: Leaders): ReadonlyMap<string, number> {
  return new Map([...leaders].map(([topic, byPartition]) => [topic, byPartition.size]));
}

/** @throws DriverError `FORBIDDEN` for the first topic that may not be seen */
function allowed({ leaders, forbidden }: Found): Leaders {
  for (const [topic, reason] of forbidden) throw forbiddenTopic(topic, reason);
  return leaders;
}

async function existing(cluster: Cluster, topics: readonly string[]): Promise<Leaders> {
  const leaders = allowed(await leadersOf(cluster, topics));
  const missing = topics.find((topic) => !leaders.has(topic));
  if (missing === undefined) return leaders;
  throw Object.assign(new Error(`topic "${missing}" does not exist`), { type: "UNKNOWN_TOPIC_OR_PARTITION" });
}

async function endsOf(cluster: Cluster, topics: readonly string[]): Promise<Ends> {
  const places = placesOf(await existing(cluster, topics));
  const byLeader = Map.groupBy(places, ({ leader }) => leader);
  const ends = new Map(topics.map((topic) => [topic, new Map<number, { low: number; high: number }>()]));
  await Promise.all(
    [...byLeader].map(async ([leader, theirs]) => {
      const [lows, highs] = await Promise.all([
        offsetsAt(cluster, leader, theirs, earliest),
        offsetsAt(cluster, leader, theirs, latest),
      ]);
      for (const { topic, partition } of theirs) {
        const place = placeName(topic, partition);
        ends.get(topic)?.set(partition, { low: lows.get(place) ?? 0, high: highs.get(place) ?? 0 });
      }
    }),
  );
  return ends;
}

async function offsetsFrom(cluster: Cluster, topic: string, time: number): Promise<ReadonlyMap<number, number>> {
  const places = placesOf(await existing(cluster, [topic]));
  const byLeader = Map.groupBy(places, ({ leader }) => leader);
  const found = await Promise.all([...byLeader].map(([leader, theirs]) => offsetsAt(cluster, leader, theirs, time)));
  const offsets = new Map(found.flatMap((part) => [...part]));
  return new Map(
    places.flatMap(({ partition }): [number, number][] => {
      const offset = offsets.get(placeName(topic, partition)) ?? -1;
      return offset < 0 ? [] : [[partition, offset]];
    }),
  );
}

function placesOf(leaders: Leaders): readonly (TopicPartition & { readonly leader: number })[] {
  return [...leaders].flatMap(([topic, byPartition]) =>
    [...byPartition].map(([partition, leader]) => ({ topic, partition, leader })),
  );
}

function placeName(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}

/** Offsets by place: the first of a timestamp, or one of the two special ones. −1: none. */
async function offsetsAt(
  cluster: Cluster,
  leader: number,
  places: readonly TopicPartition[],
  timestamp: number,
): Promise<ReadonlyMap<string, number>> {
  const broker = await brokerOf(cluster, leader);
  const topics = [...Map.groupBy(places, ({ topic }) => topic)].map(([topic, theirs]) => ({
    topic,
    partitions: theirs.map(({ partition }) => ({ partition, timestamp })),
  }));
  const { responses } = await broker.listOffsets({ isolationLevel: readCommitted, topics });
  return new Map(
    responses.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition, offset }) => [placeName(topic, partition), Number(offset)] as const),
    ),
  );
}

async function committedOf(
  cluster: Cluster,
  groupId: string,
  topics: readonly string[],
): Promise<readonly CommittedOffset[]> {
  return committedAt(cluster, groupId, placesOf(await existing(cluster, topics)));
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
  const leader = (await existing(cluster, [topic])).get(topic)?.get(partition);
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
