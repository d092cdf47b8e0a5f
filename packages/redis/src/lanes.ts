import type { GroupSource } from "@sluice/core/driver";
import type { Names } from "./names.ts";
import type { Shard } from "./shards.ts";

/** One stream that a receiver reads: a shard of a topic, or the own entry beside it. */
export interface Lane {
  readonly stream: string;
  readonly source: GroupSource;
  /** Own entries have one group only: what is accepted is deleted. */
  readonly own: boolean;
  /** The own entry of the same shard: where what is given back goes. */
  readonly ownStream: string;
  /** Name of the shard for core: the topic's stream, for both. */
  readonly label: string;
  /** Only in ordered groups. */
  readonly shard: Shard | undefined;
  /** There may be something new. */
  dirty: boolean;
  /** The last read brought something. */
  busy: boolean;
  /** Everything up to this entry was handed out to the group. */
  seen: string;
  /** Ordered: entries of former holders up to the end of what is pending come first. `undefined`: done. */
  recoverFrom: string | undefined;
  /** Ids in hand. */
  readonly held: Set<string>;
}

/** Two per shard. Unordered: nobody holds a shard, all of them are read. */
export function lanesOf(source: GroupSource, names: Names, shards: readonly (Shard | undefined)[]): readonly Lane[] {
  return shards.flatMap((shard, index) => {
    const label = names.stream(source.topic, index);
    const ownStream = names.own(source.topic, source.group, index);
    const lane = (stream: string, own: boolean): Lane => ({
      stream,
      source,
      own,
      ownStream,
      label,
      shard,
      dirty: true,
      busy: false,
      seen: "0-0",
      recoverFrom: undefined,
      held: new Set(),
    });
    return [lane(label, false), lane(ownStream, true)];
  });
}
