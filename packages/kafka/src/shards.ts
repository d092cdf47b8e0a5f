import type { Shard } from "./shard.ts";

/** The partitions of one topic, and whose turn it is. */
export interface TopicShards {
  shards: readonly Shard[];
  turn: number;
}

/** The partitions that are ours now, by id and by topic; and which topics have something to hand out. */
export class Shards {
  readonly #byId = new Map<string, Shard>();
  readonly #byTopic = new Map<string, TopicShards>();
  /** Topics with records that wait. May hold some without any: whoever finds out takes them away. */
  readonly hot: Set<string> = new Set();

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): Shard | undefined {
    return this.#byId.get(id);
  }

  /** Takes the place of the one with the same id. */
  set(shard: Shard): void {
    this.delete(shard.id);
    this.#byId.set(shard.id, shard);
    const siblings = this.#byTopic.get(shard.topic);
    if (siblings) siblings.shards = [...siblings.shards, shard];
    else this.#byTopic.set(shard.topic, { shards: [shard], turn: 0 });
    this.hot.add(shard.topic);
  }

  delete(id: string): void {
    const shard = this.#byId.get(id);
    if (!shard) return;
    shard.dropWaiting();
    this.#byId.delete(id);
    const siblings = this.#byTopic.get(shard.topic);
    if (!siblings) return;
    siblings.shards = siblings.shards.filter((one) => one !== shard);
    if (siblings.shards.length === 0) this.#byTopic.delete(shard.topic);
  }

  values(): IterableIterator<Shard> {
    return this.#byId.values();
  }

  ofTopic(topic: string): TopicShards | undefined {
    return this.#byTopic.get(topic);
  }
}
