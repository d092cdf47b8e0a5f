/**
 * A node that may hold messages: everything is in the append-only file before the answer is sent, and nothing is evicted.
 * n.b. with `everysec`, Redis's default, a killed server can lose the last second of what it has confirmed.
 */
export const redisSettings: readonly string[] = [
  "--appendonly",
  "yes",
  "--appendfsync",
  "always",
  "--save",
  "",
  "--maxmemory-policy",
  "noeviction",
];
