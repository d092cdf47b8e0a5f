import { DriverError } from "@sluice/core/driver";

/**
 * The names of everything on the server. Pure; the same words always give the same name, and different words never do: a topic's
 * stream has its plain name, everything else begins with the topic in braces.
 *
 * n.b. the braces are a hash tag: the plain name and `{name}:…` have the same slot, so that all keys of a topic live on one node
 * of a cluster, and scripts and reads may touch several of them.
 */
export interface Names {
  /** Stream of a shard. Shard 0, and the only one of an unordered topic, has the topic's own name: foreign producers write there. */
  readonly stream: (topic: string, shard: number) => string;
  /** Stream of a group's own entry, one per shard. */
  readonly own: (topic: string, group: string, shard: number) => string;
  readonly deadLetters: (topic: string, group: string) => string;
  /** Hash: how many shards, and the fences of each group. */
  readonly meta: (topic: string) => string;
  /** Who holds a shard of a group now. */
  readonly lease: (topic: string, group: string, shard: number) => string;
  /** Sorted set: instances of an ordered group and how long each is alive. */
  readonly members: (topic: string, group: string) => string;
  /** Sorted set of due times, hash of the delayed records, hash of counts. */
  readonly delayed: (topic: string) => readonly [due: string, records: string, counts: string];
  /** First part of the keys that remember writes. */
  readonly writes: (topic: string) => string;
}

/** Topic and group, with the prefix: the server would take 512 MB, people would not. */
export const longestName = 512;

export function names(prefix: string): Names {
  const plain = (topic: string) => checked(`${escape(prefix)}${escape(topic)}`);
  const tag = (topic: string) => `{${plain(topic)}}`;
  return {
    stream: (topic, shard) => (shard === 0 ? plain(topic) : `${tag(topic)}:shard:${shard}`),
    own: (topic, group, shard) => `${tag(topic)}:own:${shard}:${checked(group)}`,
    deadLetters: (topic, group) => `${tag(topic)}:dlq:${checked(group)}`,
    meta: (topic) => `${tag(topic)}:meta`,
    lease: (topic, group, shard) => `${tag(topic)}:lease:${shard}:${group}`,
    members: (topic, group) => `${tag(topic)}:members:${group}`,
    delayed: (topic) => [`${tag(topic)}:delayed`, `${tag(topic)}:delayed:records`, `${tag(topic)}:delayed:counts`],
    writes: (topic) => `${tag(topic)}:write:`,
  };
}

/** A brace of a name's own would end the hash tag early, or begin one in the plain name. */
function escape(name: string): string {
  return name.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

function checked(name: string): string {
  if (Buffer.byteLength(name) <= longestName && name.isWellFormed()) return name;
  throw new DriverError(
    "CONFIG",
    `redis: the name "${name.slice(0, 60)}…" has ${Buffer.byteLength(name)} bytes; shorten topic, group or prefix (${longestName})`,
  );
}

/** FNV-1a over the key's UTF-8 bytes: the shard of a key. Foreign producers of an ordered topic compute the same. */
export function shardOf(key: string | Uint8Array, shards: number): number {
  let hash = 0x811c9dc5;
  for (const byte of typeof key === "string" ? Buffer.from(key) : key) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0) % shards;
}
