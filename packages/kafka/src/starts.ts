import type { Runtime, Source } from "@sluice/core/driver";
import type { AdminClient, CommittedOffset, Ends, TopicPartition } from "./client.ts";
import { decodeJournal, startsBefore, startsFrom } from "./journal.ts";
import type { Begin } from "./shard.ts";

/** What has to be known of the ends before a receiver joins: of topics that begin or finish there. */
export function endsAtOpening(admin: AdminClient, topics: Iterable<TopicSource>): Promise<Ends> {
  const needed = [...topics].filter((one) => beginsNow(one) || ("deadLetter" in one.source && one.source.deadLetter));
  return admin.ends(needed.map(({ topic }) => topic));
}

/** A Kafka topic and the source that it belongs to. */
export interface TopicSource {
  readonly topic: string;
  readonly source: Source;
  /** The group's own entry: nothing in it is from before the group. */
  readonly entry: boolean;
}

function beginsNow({ source, entry }: TopicSource): boolean {
  return "broadcast" in source || (!entry && "start" in source && source.start === "now");
}

/**
 * Fixes where reading begins. kafkajs would decide "latest" at its first fetch, and lose what was sent in between; here the ends
 * recorded at opening decide, so that everything sent after that arrives.
 */
export class StartPositions {
  readonly #admin: AdminClient;
  readonly #runtime: Runtime;
  readonly #groupId: string;
  readonly #broadcast: boolean;
  readonly #topics: ReadonlyMap<string, TopicSource>;
  readonly #opening: Ends;
  /** Where an earlier receiver of the same broadcast instance stopped. */
  readonly #remembered: ReadonlyMap<string, number>;
  /** Group and topic, where the topic was deleted while it was read. */
  readonly #vanished: ReadonlySet<string>;

  constructor(options: {
    readonly admin: AdminClient;
    readonly runtime: Runtime;
    readonly groupId: string;
    readonly broadcast: boolean;
    readonly topics: ReadonlyMap<string, TopicSource>;
    readonly opening: Ends;
    readonly remembered: ReadonlyMap<string, number>;
    readonly vanished: ReadonlySet<string>;
  }) {
    this.#admin = options.admin;
    this.#runtime = options.runtime;
    this.#groupId = options.groupId;
    this.#broadcast = options.broadcast;
    this.#topics = options.topics;
    this.#opening = options.opening;
    this.#remembered = options.remembered;
    this.#vanished = options.vanished;
  }

  /** n.b. at every join of every member: few requests, or a busy group does nothing but join. */
  async of(assigned: readonly TopicPartition[]): Promise<readonly Begin[]> {
    const committed = this.#broadcast ? [] : await this.#admin.committedAt(this.#groupId, assigned);
    const byPlace = new Map(committed.map((one) => [`${one.topic}/${one.partition}`, one]));
    const found = assigned.map(({ topic, partition }) => {
      const one = byPlace.get(`${topic}/${partition}`);
      return one?.offset === undefined ? undefined : one;
    });
    const unknown = new Set(assigned.filter((_place, index) => !found[index]).map(({ topic }) => topic));
    const accused = assigned.filter(
      (_place, index) => (decodeJournal(found[index]?.metadata ?? "")?.starts.length ?? 0) > 0,
    );
    const ends = await this.#admin.ends([...new Set([...unknown, ...accused.map(({ topic }) => topic)])]);
    const begun = [...unknown].filter((topic) => this.#beginsNow(topic));
    const others = this.#broadcast || begun.length === 0 ? [] : await this.#admin.committed(this.#groupId, begun);
    return assigned.map(({ topic, partition }, index) => {
      return this.#begin({ topic, partition }, ends.get(topic)?.get(partition), found[index], others);
    });
  }

  #begin(
    { topic, partition }: TopicPartition,
    end: { readonly low: number; readonly high: number } | undefined,
    found: CommittedOffset | undefined,
    others: readonly CommittedOffset[],
  ): Begin {
    const journal = decodeJournal(found?.metadata ?? "");
    const born = journal?.born ?? this.#born(topic, others);
    const remembered = this.#remembered.get(`${topic}/${partition}`);
    const position = found?.offset ?? remembered ?? this.#origin(topic, partition, end?.low ?? 0, born);
    // Wall time, unless the last holder's number is ahead: it goes on growing although Kafka forgets offsets of idle groups.
    const epoch = Math.max((journal?.epoch ?? 0) + 1, Math.floor(this.#runtime.wallMs()));
    // n.b. a mark covers what may come until the next commit: what did not exist when its holder was gone, it has not started. Or
    // holders that die while nothing comes, one after another, would accuse the first record that does.
    const accused = startsBefore(journal?.starts ?? [], end?.high ?? Number.POSITIVE_INFINITY);
    const starts = startsFrom(accused, position);
    return { position, starts, finished: journal?.finished ?? [], epoch, born };
  }

  /** How many partitions the topic had when the group began with "now"; any member's commit tells, else it begins now. */
  #born(topic: string, committed: readonly CommittedOffset[]): number {
    for (const one of committed) {
      const journal = one.topic === topic ? decodeJournal(one.metadata) : undefined;
      if (journal) return journal.born;
    }
    return this.#beginsNow(topic) ? (this.#opening.get(topic)?.size ?? 0) : 0;
  }

  #origin(topic: string, partition: number, low: number, born: number): number {
    if (!this.#beginsNow(topic) || partition >= born) return low;
    // A partition that was added after the opening has nothing from before it.
    return this.#opening.get(topic)?.get(partition)?.high ?? low;
  }

  #beginsNow(topic: string): boolean {
    const found = this.#topics.get(topic);
    // What is in a topic that was made again came while its reader was away: the group had begun long before.
    return found !== undefined && beginsNow(found) && !this.#vanished.has(`${this.#groupId} ${topic}`);
  }
}
