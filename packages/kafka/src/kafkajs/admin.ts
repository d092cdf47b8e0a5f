import { type Admin, type Cluster, ConfigResourceTypes, type Kafka } from "kafkajs";
import type { AdminClient, ClientRecord, CommittedOffset } from "../client.ts";
import { codeOfError } from "../errors.ts";

const readBytes = 1_048_576;
const readWaitMs = 100;

/**
 * The connection that takes and joins nothing. `cluster` is kafkajs' lower level: it reads without a group, and knows which
 * protocol versions the broker speaks.
 */
export function adminClient(admin: Admin, cluster: Cluster): AdminClient {
  return {
    partitions: (topic) => partitionsOf(admin, topic),
    async settings(topic) {
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }],
      });
      return new Map(resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]));
    },
    async createTopic({ name, partitions, replicationFactor, config }) {
      const configEntries = Object.entries(config).map(([key, value]) => ({ name: key, value }));
      return admin.createTopics({
        waitForLeaders: true,
        topics: [{ topic: name, numPartitions: partitions, replicationFactor, configEntries }],
      });
    },
    async ends(topic) {
      const offsets = await admin.fetchTopicOffsets(topic);
      return new Map(offsets.map(({ partition, low, high }) => [partition, { low: Number(low), high: Number(high) }]));
    },
    async committed(groupId, topics) {
      const committed = await admin.fetchOffsets({ groupId, topics: [...topics] });
      return committed.flatMap(({ topic, partitions }) =>
        partitions.map(({ partition, offset, metadata }): CommittedOffset => {
          const number = Number(offset);
          return { topic, partition, offset: number < 0 ? undefined : number, metadata: metadata ?? "" };
        }),
      );
    },
    read: (topic, partition, from) => read(cluster, topic, partition, from),
    async ping() {
      await admin.describeCluster();
    },
  };
}

/** n.b. one topic that is missing fails the whole answer, so topics are asked for one at a time. */
async function partitionsOf(admin: Admin, topic: string): Promise<number | undefined> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics.find(({ name }) => name === topic)?.partitions.length;
  } catch (error) {
    if (codeOfError(error) === "NOT_FOUND") return undefined;
    throw error;
  }
}

async function read(cluster: Cluster, topic: string, partition: number, from: number): Promise<{ records: readonly ClientRecord[]; next: number }> {
  await cluster.addTargetTopic(topic);
  const leader = cluster.findTopicPartitionMetadata(topic).find(({ partitionId }) => partitionId === partition)?.leader;
  const broker = await cluster.findBroker({ nodeId: String(leader) });
  const partitions = [{ partition, fetchOffset: String(from), maxBytes: readBytes }];
  const answer: FetchAnswer = await broker.fetch({ maxWaitTime: readWaitMs, minBytes: 1, maxBytes: readBytes, isolationLevel: 1, topics: [{ topic, partitions }] });
  const messages = answer.responses.flatMap((one) => one.partitions.flatMap((part) => part.messages));
  // The broker answers with whole batches: the first may begin before the offset that was asked for.
  const records = messages.filter(({ offset, isControlRecord }) => Number(offset) >= from && !isControlRecord);
  const last = messages.at(-1);
  return { records, next: last ? Number(last.offset) + 1 : from };
}

interface FetchAnswer {
  readonly responses: readonly {
    readonly partitions: readonly { readonly messages: readonly (ClientRecord & { isControlRecord?: boolean })[] }[];
  }[];
}

/** kafkajs hands its cluster object to assigners only; this consumer is made for that and never joins a group. */
export function clusterOf(kafka: Kafka, metadataMaxAge: number): Promise<Cluster> {
  return new Promise((resolve) => {
    kafka.consumer({
      groupId: "never-joined",
      allowAutoTopicCreation: false,
      metadataMaxAge,
      partitionAssigners: [
        ({ cluster }) => {
          resolve(cluster);
          return { name: "none", version: 0, assign: async () => [], protocol: () => ({ name: "none", metadata: Buffer.alloc(0) }) };
        },
      ],
    });
  });
}
