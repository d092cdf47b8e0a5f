import type { Runtime, Source } from "@sluice/core/driver";
import type { AdminClient, CommittedOffset, TopicPartition } from "./client.ts";
import { decodeJournal } from "./journal.ts";
import type { Begin } from "./shard.ts";

/** First and next offsets of every partition of some topics. */
export type Ends = ReadonlyMap<string, ReadonlyMap<number, { readonly low: number; readonly high: number }>>;

async function endsOf(admin: AdminClient, topics: Iterable<string>): Promise<Ends> {
  const entries = await Promise.all([...topics].map(async (topic) => [topic, await admin.ends(topic)] as const));
  return new Map(entries);
}

/** What has to be known of the ends before a receiver joins: of sources that begin or finish there. */
export function endsAtOpening(admin: AdminClient, source: Source, topics: readonly string[]): Promise<Ends> {
  const finite = "deadLetter" in source && source.deadLetter === true;
  return endsOf(
    admin,
    topics.filter((topic) => finite || beginsNow(source, topic)),
  );
}

function beginsNow(source: Source, topic: string): boolean {
  if ("broadcast" in source) return true;
  return "start" in source && source.start === "now" && topic === source.topic;
}

/**
 * Fixes where reading begins. kafkajs would decide "latest" at its first fetch, and lose what was sent in between; here the ends
 * recorded at opening decide, so that everything sent after that arrives.
 */
export class StartPositions {
  readonly #admin: AdminClient;
  readonly #runtime: Runtime;
  readonly #source: Source;
  readonly #groupId: string;
  readonly #opening: Ends;
  /** Where an earlier receiver of the same broadcast instance stopped. */
  readonly #remembered: ReadonlyMap<string, number>;

  constructor(options: {
    readonly admin: AdminClient;
    readonly runtime: Runtime;
    readonly source: Source;
    readonly groupId: string;
    readonly opening: Ends;
    readonly remembered: ReadonlyMap<string, number>;
  }) {
    this.#admin = options.admin;
    this.#runtime = options.runtime;
    this.#source = options.source;
    this.#groupId = options.groupId;
    this.#opening = options.opening;
    this.#remembered = options.remembered;
  }

  /** n.b. at every join of every member: few requests, or a busy group does nothing but join. */
  async of(assigned: readonly TopicPartition[]): Promise<readonly Begin[]> {
    const broadcast = "broadcast" in this.#source;
    const committed = broadcast ? [] : await this.#admin.committedAt(this.#groupId, assigned);
    const found = assigned.map(({ topic, partition }) =>
      committed.find((one) => one.topic === topic && one.partition === partition && one.offset !== undefined),
    );
    const unknown = new Set(assigned.filter((_place, index) => !found[index]).map(({ topic }) => topic));
    const ends = await endsOf(this.#admin, unknown);
    const begun = [...unknown].filter((topic) => beginsNow(this.#source, topic));
    const others = broadcast || begun.length === 0 ? [] : await this.#admin.committed(this.#groupId, begun);
    return assigned.map(({ topic, partition }, index) => {
      const low = ends.get(topic)?.get(partition)?.low ?? 0;
      return this.#begin({ topic, partition }, low, found[index], others);
    });
  }

  #begin(
    { topic, partition }: TopicPartition,
    low: number,
    found: CommittedOffset | undefined,
    others: readonly CommittedOffset[],
  ): Begin {
    const journal = decodeJournal(found?.metadata ?? "");
    const born = journal?.born ?? this.#born(topic, others);
    const remembered = this.#remembered.get(`${topic}/${partition}`);
    const position = found?.offset ?? remembered ?? this.#origin(topic, partition, low, born);
    // Wall time, unless the last holder's number is ahead: it goes on growing although Kafka forgets offsets of idle groups.
    const epoch = Math.max((journal?.epoch ?? 0) + 1, Math.floor(this.#runtime.wallMs()));
    return { position, starts: journal?.starts ?? [], finished: journal?.finished ?? [], epoch, born };
  }

  /** How many partitions the topic had when the group began with "now"; any member's commit tells, else it begins now. */
  #born(topic: string, committed: readonly CommittedOffset[]): number {
    for (const one of committed) {
      const journal = one.topic === topic ? decodeJournal(one.metadata) : undefined;
      if (journal) return journal.born;
    }
    return beginsNow(this.#source, topic) ? (this.#opening.get(topic)?.size ?? 0) : 0;
  }

  #origin(topic: string, partition: number, low: number, born: number): number {
    if (!beginsNow(this.#source, topic) || partition >= born) return low;
    // A partition that was added after the opening has nothing from before it.
    return this.#opening.get(topic)?.get(partition)?.high ?? low;
  }
}
