import type { DriverError, DriverEvent, Runtime, Source } from "@sluice/core/driver";
import type { KafkaClient } from "./client.ts";
import type { KafkaConfig } from "./options.ts";
import type { Placer } from "./placing.ts";
import type { Shard } from "./shard.ts";
import type { TopicSource } from "./starts.ts";

export interface MemberContext {
  readonly client: KafkaClient;
  readonly config: KafkaConfig;
  readonly placer: Placer;
  readonly runtime: Runtime;
  /** Where a broadcast instance stopped, by `topic/partition`; kept until an orderly close. */
  remembered(source: Source): Map<string, number>;
  report(event: DriverEvent): void;
  /** Group and topic, with a blank between them, of topics that were deleted while they were read: made again, all in them is new. */
  readonly vanished: Set<string>;
}

/** What one consumer of a receiver reads. All of its sources belong to one Kafka group. */
export interface Membering {
  readonly groupId: string;
  /** Makes ids of shards unique within the receiver. */
  readonly suffix: string;
  /** By Kafka topic. */
  readonly topics: ReadonlyMap<string, TopicSource>;
  readonly fetchWait: number;
}

export interface MemberHooks {
  /** Something may be handed out now. */
  changed(): void;
  failed(error: DriverError): void;
  /** In a probe (window 1): the partition whose head is marked as started, over all members of the receiver. */
  probe: Shard | undefined;
}

/** The group and what it reads, for errors: the broker's own answer often names neither. */
export function groupOf({ groupId, topics }: Membering): string {
  const [first, ...others] = [...topics.keys()].map((topic) => `"${topic}"`);
  const more = others.length > 1 ? `${others.length} other topics` : others[0];
  return `group "${groupId}" of ${first}${more === undefined ? "" : ` and ${more}`}`;
}

/** One of the topics is gone, and nobody says which: what is made again under any of these names counts as new. */
export function vanish({ groupId, topics }: Membering, { vanished }: MemberContext): void {
  for (const topic of topics.keys()) vanished.add(`${groupId} ${topic}`);
}
