import { type Assigner, AssignerProtocol, type Cluster, type PartitionAssigner } from "kafkajs";
import { type Wish, distribute } from "../assigner.ts";

const name = "sluice";
/** n.b. kafkajs writes version 1 without a field that version 1 has; brokers then refuse to upgrade the group. */
const version = 0;

interface UserData {
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
      // Partition counts make the broker see a change, and rebalance, when a topic grew that the leader does not read.
      const counts = Object.fromEntries(topics.map((topic) => [topic, idsOf(cluster, topic).length]));
      const data: UserData = { counts, owned: owned() };
      const userData = Buffer.from(JSON.stringify(data));
      return { name, metadata: AssignerProtocol.MemberMetadata.encode({ version, topics, userData }) };
    },
    async assign({ members }) {
      const wishes = members.map(({ memberId, memberMetadata }): Wish => {
        const metadata = AssignerProtocol.MemberMetadata.decode(memberMetadata);
        return { memberId, topics: metadata?.topics ?? [], owned: ownedIn(metadata?.userData) };
      });
      const topics = [...new Set(wishes.flatMap((wish) => wish.topics))];
      await cluster.addMultipleTargetTopics(topics);
      const partitions = new Map(topics.map((topic) => [topic, idsOf(cluster, topic)]));
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
function ownedIn(userData: Buffer | undefined): Wish["owned"] {
  try {
    const { owned } = JSON.parse(userData?.toString() ?? "{}") as Partial<UserData>;
    return typeof owned === "object" && owned !== null && Object.values(owned).every(Array.isArray) ? owned : {};
  } catch {
    return {};
  }
}
