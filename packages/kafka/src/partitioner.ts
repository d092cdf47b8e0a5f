import type { Bytes } from "@sluice/core/driver";

const multiplier = 0x5bd1e995;

/** Java's `Utils.murmur2`, so that every client of the company puts a key into the same partition. */
export function murmur2(bytes: Bytes): number {
  const length = bytes.length;
  const words = length - (length % 4);
  let hash = 0x9747b28c ^ length;
  for (let at = 0; at < words; at += 4) {
    let word = byte(bytes, at) | (byte(bytes, at + 1) << 8) | (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24);
    word = Math.imul(word, multiplier);
    word ^= word >>> 24;
    hash = Math.imul(hash, multiplier) ^ Math.imul(word, multiplier);
  }
  const rest = length - words;
  if (rest === 3) hash ^= byte(bytes, words + 2) << 16;
  if (rest >= 2) hash ^= byte(bytes, words + 1) << 8;
  if (rest >= 1) hash = Math.imul(hash ^ byte(bytes, words), multiplier);
  hash = Math.imul(hash ^ (hash >>> 13), multiplier);
  return hash ^ (hash >>> 15);
}

/** The partition of a key. An empty key is a key and has its one partition; a record without key has none. */
export function partitionOf(key: Bytes, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}

function byte(bytes: Bytes, at: number): number {
  return bytes[at] ?? 0;
}
