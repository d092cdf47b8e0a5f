/**
 * What this adapter needs of a Kafka client library, in the adapter's own words. `src/kafkajs/` fills it; offsets, lanes,
 * hand-over and recovery know only this file, so another engine can take kafkajs' place.
 */
export interface KafkaClient {
  /** The client library's own object. */
  readonly native: unknown;
  readonly server: string;
  readonly admin: AdminClient;
  producer(): Promise<ProducerClient>;
  /** Resolves when everybody else with this id is fenced, and what they had begun is committed or gone. */
  transactions(id: string): Promise<TransactionClient>;
  consumer(settings: ConsumerSettings, events: ConsumerEvents): ConsumerClient;
  close(graceMs: number): Promise<void>;
}

/** A header value as Kafka has it: bytes, null, or several under one name. */
export type ClientHeader = Uint8Array | string | null | undefined;

/** A record as it was read. `offset` and `timestamp` are decimal strings, because they are 64-bit. */
export interface ClientRecord {
  readonly offset: string;
  readonly timestamp: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers?: Readonly<Record<string, ClientHeader | readonly ClientHeader[]>>;
}

/** A record to be written. The partition is fixed here, never by the client. */
export interface ClientMessage {
  readonly partition: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly timestamp: string;
  readonly headers: Record<string, string | Buffer | (string | Buffer)[]>;
}

export interface TopicMessages {
  readonly topic: string;
  readonly messages: readonly ClientMessage[];
}

export interface AdminClient {
  /** Number of partitions of those that exist. Rejects with `FORBIDDEN`, naming the topic, when one may not be seen. */
  partitions(topics: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** The same for each on its own: one that may not be seen harms no other. */
  look(topics: readonly string[]): Promise<TopicsSeen>;
  /** Dynamic and default configuration by topic and name. */
  settings(topics: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>>;
  /** Creates those that do not exist yet; they may be usable only a moment later. */
  createTopics(topics: readonly NewTopic[]): Promise<void>;
  /** First and next offset of every partition (up to the last stable one: records of an open transaction do not count). */
  ends(topics: readonly string[]): Promise<Ends>;
  /** By partition, the first offset with a timestamp (wall milliseconds) of this or later; a partition without one is left out. */
  offsetsFrom(topic: string, time: number): Promise<ReadonlyMap<number, number>>;
  /** Of every partition of these topics. */
  committed(groupId: string, topics: readonly string[]): Promise<readonly CommittedOffset[]>;
  /** Of these partitions: one request less for every topic. */
  committedAt(groupId: string, places: readonly TopicPartition[]): Promise<readonly CommittedOffset[]>;
  /** Commits for a group without members; rejects while it has some. */
  commitIdle(groupId: string, positions: readonly CommitPosition[]): Promise<void>;
  /** Reads without any group: records of one partition from an offset on, and where to go on. */
  read(topic: string, partition: number, from: number): Promise<PartitionRead>;
  ping(): Promise<void>;
}

interface TopicsSeen {
  /** Number of partitions of those that exist. */
  readonly partitions: ReadonlyMap<string, number>;
  /** Those that we have no right to see, whether they exist or not, and the broker's answer. */
  readonly forbidden: ReadonlyMap<string, unknown>;
}

/** First and next offsets of every partition of some topics. */
export type Ends = ReadonlyMap<string, ReadonlyMap<number, { readonly low: number; readonly high: number }>>;

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

interface NewTopic {
  readonly name: string;
  readonly partitions: number;
  /** −1: the broker's default. */
  readonly replicationFactor: number;
  readonly config: Readonly<Record<string, string>>;
}

export interface CommittedOffset {
  readonly topic: string;
  readonly partition: number;
  /** `undefined`: nothing committed. */
  readonly offset: number | undefined;
  readonly metadata: string;
}

export interface PartitionRead {
  readonly records: readonly ClientRecord[];
  readonly next: number;
}

export interface ProducerClient {
  /** How many produce requests have left the process: unchanged over a failed send = nothing was sent. */
  readonly requestsWritten: number;
  /** One outstanding call. After a rejection the producer must never be used again. */
  send(batch: readonly TopicMessages[]): Promise<void>;
  /** Gives up at once: closes sockets, ends retries. */
  dispose(): void;
  close(graceMs: number): Promise<void>;
}

export interface TransactionClient {
  /**
   * Records and positions together or not at all, one call at a time. `ending` is called before the one request that decides. After
   * a rejection the client must never be used again.
   */
  commit(
    rounds: readonly (readonly TopicMessages[])[],
    groupId: string,
    positions: readonly CommitPosition[],
    ending: () => void,
  ): Promise<void>;
  dispose(): void;
  close(graceMs: number): Promise<void>;
}

export interface ConsumerSettings {
  readonly groupId: string;
  readonly topics: readonly string[];
  /** Longest wait of an idle fetch, milliseconds. */
  readonly fetchWait: number;
}

/** None may throw. */
export interface ConsumerEvents {
  /** A rebalance was announced; commits of the old generation are still taken until we join. */
  rebalancing(): void;
  /** Before every join, which waits for it. Must resolve within a third of the session. */
  beforeJoin(): Promise<void>;
  /** `continued`: the same membership as before, so that nobody else can have had the partitions that we have again. */
  joined(assignment: ReadonlyMap<string, readonly number[]>, continued: boolean): void;
  /** The coordinator answered a heartbeat: we are still a member. */
  heartbeat(): void;
  batch(batch: ConsumedBatch): void;
  /** The position was out of range and the client goes on at the first retained record. */
  outOfRange(topic: string, partition: number): void;
  /** The consumer has ended for good. */
  crashed(error: unknown): void;
}

export interface ConsumedBatch {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly ClientRecord[];
  /** Where the next batch begins: behind trailing control records too. */
  readonly next: string;
}

export interface CommitPosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly metadata: string;
}

export interface ConsumerClient {
  /** Connects and joins; resolves after the first `joined`. Rejects with the reason when the join fails. */
  join(): Promise<void>;
  pause(topic: string, partition: number): void;
  resume(topic: string, partition: number): void;
  seek(topic: string, partition: number, offset: number): void;
  /** Resolves only when the coordinator stored it. */
  commit(positions: readonly CommitPosition[]): Promise<void>;
  /** Leaves the group. */
  close(graceMs: number): Promise<void>;
}
