import type { DriverEvent, Runtime, Source } from "@sluice/core/driver";
import type { AdminClient, CommittedOffset } from "./client.ts";
import { decodeJournal } from "./journal.ts";
import type { Begin } from "./shard.ts";

/** First and next offsets of every partition of some topics. */
export type Ends = ReadonlyMap<string, ReadonlyMap<number, { readonly low: number; readonly high: number }>>;

export async function endsOf(admin: AdminClient, topics: Iterable<string>): Promise<Ends> {
  const entries = await Promise.all([...topics].map(async (topic) => [topic, await admin.ends(topic)] as const));
  return new Map(entries);
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
  readonly #report: (event: DriverEvent) => void;

  constructor(options: {
    readonly admin: AdminClient;
    readonly runtime: Runtime;
    readonly source: Source;
    readonly groupId: string;
    readonly opening: Ends;
    readonly remembered: ReadonlyMap<string, number>;
    readonly report: (event: DriverEvent) => void;
  }) {
    this.#admin = options.admin;
    this.#runtime = options.runtime;
    this.#source = options.source;
    this.#groupId = options.groupId;
    this.#opening = options.opening;
    this.#remembered = options.remembered;
    this.#report = options.report;
  }

  async of(assigned: readonly { readonly topic: string; readonly partition: number }[]): Promise<readonly Begin[]> {
    const topics = [...new Set(assigned.map(({ topic }) => topic))];
    const committed = "broadcast" in this.#source ? [] : await this.#admin.committed(this.#groupId, topics);
    const ends = await endsOf(this.#admin, topics);
    return assigned.map(({ topic, partition }) => {
      const low = ends.get(topic)?.get(partition)?.low ?? 0;
      return this.#begin(topic, partition, low, committed);
    });
  }

  #begin(topic: string, partition: number, low: number, committed: readonly CommittedOffset[]): Begin {
    const found = committed.find((one) => one.topic === topic && one.partition === partition);
    const journal = decodeJournal(found?.metadata ?? "");
    const born = journal?.born ?? this.#born(topic, committed);
    let position =
      found?.offset ?? this.#remembered.get(`${topic}/${partition}`) ?? this.#origin(topic, partition, low, born);
    if (position < low) {
      const detail = `kafka: "${topic}" partition ${partition}: ${low - position} records were deleted by retention before they were read`;
      this.#report({ kind: "data-loss", source: this.#source, count: low - position, detail });
      position = low;
    }
    // Wall time, unless the last holder's number is ahead: it goes on growing although Kafka forgets offsets of idle groups.
    const epoch = Math.max((journal?.epoch ?? 0) + 1, Math.floor(this.#runtime.wallMs()));
    return { position, starts: journal?.starts ?? [], epoch, born };
  }

  /** How many partitions the topic had when the group began with "now"; any member's commit tells, else it begins now. */
  #born(topic: string, committed: readonly CommittedOffset[]): number {
    for (const one of committed) {
      const journal = one.topic === topic ? decodeJournal(one.metadata) : undefined;
      if (journal) return journal.born;
    }
    return this.#fromNow(topic) ? (this.#opening.get(topic)?.size ?? 0) : 0;
  }

  #origin(topic: string, partition: number, low: number, born: number): number {
    if (!this.#fromNow(topic) || partition >= born) return low;
    // A partition that was added after the opening has nothing from before it.
    return this.#opening.get(topic)?.get(partition)?.high ?? low;
  }

  #fromNow(topic: string): boolean {
    if ("broadcast" in this.#source) return true;
    return "start" in this.#source && this.#source.start === "now" && topic === this.#source.topic;
  }
}
