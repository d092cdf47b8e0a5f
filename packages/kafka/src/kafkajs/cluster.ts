import type { Cluster, Kafka } from "kafkajs";
import { type Runtime, sleep } from "@sluice/core/driver";
import type { ClientRecord } from "../client.ts";
import { codeOfError } from "../errors.ts";
import { backOff } from "./back-off.ts";

/** kafkajs' lower level, as far as we use it. Its requests name what they want, and keep no list of topics between calls. */
export interface RawBroker {
  metadata(topics: string[]): Promise<{
    readonly topicMetadata: readonly {
      readonly topic: string;
      readonly partitionMetadata: readonly { readonly partitionId: number; readonly leader: number }[];
    }[];
  }>;
  listOffsets(request: {
    isolationLevel: number;
    topics: { topic: string; partitions: { partition: number; timestamp: number }[] }[];
  }): Promise<{
    readonly responses: readonly {
      readonly topic: string;
      readonly partitions: readonly { readonly partition: number; readonly offset: string }[];
    }[];
  }>;
  offsetFetch(request: { groupId: string; topics: { topic: string; partitions: { partition: number }[] }[] }): Promise<{
    readonly responses: readonly {
      readonly topic: string;
      readonly partitions: readonly {
        readonly partition: number;
        readonly offset: string;
        readonly metadata: string | null;
      }[];
    }[];
  }>;
  offsetCommit(request: {
    groupId: string;
    groupGenerationId: number;
    memberId: string;
    topics: { topic: string; partitions: { partition: number; offset: string; metadata: string }[] }[];
  }): Promise<unknown>;
  fetch(request: {
    maxWaitTime: number;
    minBytes: number;
    maxBytes: number;
    isolationLevel: number;
    topics: { topic: string; partitions: { partition: number; fetchOffset: string; maxBytes: number }[] }[];
  }): Promise<{
    readonly responses: readonly {
      readonly partitions: readonly {
        readonly messages: readonly (ClientRecord & { readonly isControlRecord?: boolean })[];
      }[];
    }[];
  }>;
  findGroupCoordinator(request: { groupId: string; coordinatorType: number }): Promise<unknown>;
  apiVersions(): Promise<Record<number, { readonly minVersion: number; readonly maxVersion: number }>>;
}

/** kafkajs hands its cluster object to assigners only; this consumer is made for that and never joins a group. */
export function clusterOf(kafka: Kafka): Promise<Cluster> {
  return new Promise((resolve) => {
    kafka.consumer({
      groupId: "never-joined",
      allowAutoTopicCreation: false,
      partitionAssigners: [
        ({ cluster }) => {
          resolve(cluster);
          return {
            name: "none",
            version: 0,
            assign: async () => [],
            protocol: () => ({ name: "none", metadata: Buffer.alloc(0) }),
          };
        },
      ],
    });
  });
}

/** A broker that answers: any, or the one with this id. */
export async function brokerOf(cluster: Cluster, nodeId?: number): Promise<RawBroker> {
  const ids = nodeId === undefined ? cluster.getNodeIds() : [nodeId];
  let failure: unknown = new Error("no broker is known");
  for (const id of ids) {
    try {
      return raw(await cluster.findBroker({ nodeId: String(id) }));
    } catch (error) {
      failure = error;
    }
  }
  await cluster.refreshMetadata();
  throw failure;
}

export async function coordinatorOf(cluster: Cluster, groupId: string): Promise<RawBroker> {
  return raw(await cluster.findGroupCoordinator({ groupId }));
}

/** The library's own retries: this level of it has none. */
export async function retrying<T>(runtime: Runtime, work: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= backOff.retries || codeOfError(error) !== "UNAVAILABLE") throw error;
      await sleep(runtime, Math.min(backOff.maxRetryTime, backOff.initialRetryTime * 2 ** attempt));
    }
  }
}

/** The published type of a broker leaves out what it has. */
function raw(broker: unknown): RawBroker {
  return broker as RawBroker;
}
