import { type Assigner, AssignerProtocol, type Cluster, type PartitionAssigner } from "kafkajs";
import { type Wish, distribute } from "../assigner.ts";

const name = "sluice";
/** n.b. kafkajs writes version 1 without a field that version 1 has; brokers then refuse to upgrade the group. */
const version = 0;

interface UserData {
  /** Partitions of the topics that it reads. They also make the broker see a change, and rebalance, when a topic grew. */
  readonly counts: Record<string, number>;
  readonly owned: Record<string, readonly number[]>;
}

/** The group's own assigner: honours each member's list of topics; kafkajs' own looks only at the leader's. */
export function sluiceAssigner(hooks: {
  beforeJoin(): Promise<void>;
  owned(): Record<string, readonly number[]>;
}): PartitionAssigner {
  return ({ cluster }) => {
    joinAfter(cluster, () => hooks.beforeJoin());
    return assignerOf(cluster, () => hooks.owned());
  };
}

/** kafkajs asks for the coordinator at the beginning of every join, and nowhere else: the one place that can wait. */
function joinAfter(cluster: Cluster, ready: () => Promise<void>): void {
  const find = cluster.findGroupCoordinator.bind(cluster);
  cluster.findGroupCoordinator = async (group) => {
    await ready();
    return find(group);
  };
}

function assignerOf(cluster: Cluster, owned: () => Record<string, readonly number[]>): Assigner {
  return {
    name,
    version,
    protocol({ topics }) {
      const counts = Object.fromEntries(topics.map((topic) => [topic, idsOf(cluster, topic).length]));
      const data: UserData = { counts, owned: owned() };
      const userData = Buffer.from(JSON.stringify(data));
      return { name, metadata: AssignerProtocol.MemberMetadata.encode({ version, topics, userData }) };
    },
    // n.b. a leader that asked for the others' topics itself would end with the first of them that is deleted.
    async assign({ members }) {
      const counts = new Map<string, number>();
      const wishes = members.map(({ memberId, memberMetadata }): Wish => {
        const metadata = AssignerProtocol.MemberMetadata.decode(memberMetadata);
        const { owned, counts: theirs } = dataIn(metadata?.userData);
        for (const [topic, count] of Object.entries(theirs)) counts.set(topic, Math.max(count, counts.get(topic) ?? 0));
        return { memberId, topics: metadata?.topics ?? [], owned };
      });
      const partitions = new Map(
        [...counts].map(([topic, count]) => [topic, Array.from({ length: count }, (_, id) => id)]),
      );
      return [...distribute(wishes, partitions)].map(([memberId, assignment]) => ({
        memberId,
        memberAssignment: AssignerProtocol.MemberAssignment.encode({ version, assignment, userData: Buffer.alloc(0) }),
      }));
    },
  };
}

function idsOf(cluster: Cluster, topic: string): number[] {
  return cluster
    .findTopicPartitionMetadata(topic)
    .map(({ partitionId }) => partitionId)
    .sort((one, other) => one - other);
}

/** Anybody may have written it: what is not of our form counts as nothing. */
function dataIn(userData: Buffer | undefined): UserData {
  const data: UserData = { counts: {}, owned: {} };
  try {
    const read = JSON.parse(userData?.toString() ?? "{}") as Partial<UserData>;
    return {
      counts: valid(read.counts, (count) => Number.isSafeInteger(count)) ? read.counts : data.counts,
      owned: valid(read.owned, Array.isArray) ? read.owned : data.owned,
    };
  } catch {
    return data;
  }
}

function valid<T>(value: T | undefined, member: (value: unknown) => boolean): value is T {
  return typeof value === "object" && value !== null && Object.values(value).every(member);
}
