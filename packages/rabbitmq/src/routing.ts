import type { Key } from "@sluice/core/driver";

/** Bits of a key's hash that travel as words of the routing key: a group may have up to 1,024 shards. */
export const hashBits = 10;

/** Routing key of records without a key. */
const keyless = "u";

/** `k.<bit>.<bit>…`, lowest bit first: a group binds as many bits as it has shards for, and the sender knows no group. */
export function routingKey(key: Key): string {
  if (key === null) return keyless;
  const hash = murmur2(toBytes(key));
  let words = "k";
  for (let bit = 0; bit < hashBits; bit++) words += (hash >>> bit) & 1 ? ".1" : ".0";
  return words;
}

/** Which of a group's `2 ** bits` queues keeps a key. Records without a key are kept by queue 0. */
export function shardOf(key: Key, bits: number): number {
  return key === null ? 0 : murmur2(toBytes(key)) & (2 ** bits - 1);
}

/** Last word of a shard's queue name: its bits, lowest first. */
export function shardName(shard: number, bits: number): string {
  let name = "";
  for (let bit = 0; bit < bits; bit++) name += (shard >>> bit) & 1;
  // A group with one shard still needs a word: an unordered group's queue has none.
  return name === "" ? "all" : name;
}

/** What binds a shard's queue to its topic. `own`: the topic's name, as a foreign producer may use it for a routing key. */
export function shardPatterns(shard: number, bits: number, own: string): readonly string[] {
  let pattern = "k";
  for (let bit = 0; bit < bits; bit++) pattern += (shard >>> bit) & 1 ? ".1" : ".0";
  if (shard !== 0) return [`${pattern}.#`];
  // n.b. the first queue also takes what has no key, and foreign messages; a delayed record's key has words after the `u`.
  // Not where it would look like a key's words: another queue binds those.
  const foreign = /[*#]|^k\./.test(own) ? [] : [own];
  return [`${pattern}.#`, `${keyless}.#`, "", ...foreign];
}

function toBytes(key: string | Uint8Array): Uint8Array {
  return typeof key === "string" ? Buffer.from(key) : key;
}

/** Murmur2 with the seed of the Java client of Kafka: other tools compute the same shard. */
export function murmur2(bytes: Uint8Array): number {
  const multiplier = 0x5bd1e995;
  const { length } = bytes;
  let hash = 0x9747b28c ^ length;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    let word = byte(bytes, at) | (byte(bytes, at + 1) << 8) | (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24);
    word = Math.imul(word, multiplier);
    word = Math.imul(word ^ (word >>> 24), multiplier);
    hash = Math.imul(hash, multiplier) ^ word;
  }
  const rest = length - at;
  if (rest > 2) hash ^= byte(bytes, at + 2) << 16;
  if (rest > 1) hash ^= byte(bytes, at + 1) << 8;
  if (rest > 0) hash = Math.imul(hash ^ byte(bytes, at), multiplier);
  hash = Math.imul(hash ^ (hash >>> 13), multiplier);
  return (hash ^ (hash >>> 15)) >>> 0;
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}
