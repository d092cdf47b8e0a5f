import { checkMethods } from "../options.ts";
import type { Acquired, IdempotencyStore } from "./store.ts";

/** What the store needs of a client: ioredis' `Redis` and `Cluster` have it. */
export interface RedisLike {
  eval(script: string, keyCount: number, ...keysAndArguments: (string | number)[]): Promise<unknown>;
}

/** Options of {@link redisStore}. */
export interface RedisStoreOptions {
  /** Put before every key. @default "sluice:idempotent:" */
  readonly prefix?: string;
}

// A key holds "done", or "lock:" and the owner; Redis forgets either by its own clock. Each script touches one key, so that a
// cluster runs it, too. n.b. GET of a key that is not there is `false` in Lua, and equal to no argument.

const acquire = `local held = redis.call("GET", KEYS[1])
if held == "done" then return {"completed", 0} end
if held and held ~= ARGV[1] then return {"locked", redis.call("PTTL", KEYS[1])} end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return {"acquired", 0}`;

const renew = `if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("PEXPIRE", KEYS[1], ARGV[2])`;

const complete = `local held = redis.call("GET", KEYS[1])
if held ~= ARGV[1] then return 0 end
redis.call("SET", KEYS[1], "done", "PX", ARGV[2])
return 1`;

const release = `if redis.call("GET", KEYS[1]) == ARGV[1] then redis.call("DEL", KEYS[1]) end
return 0`;

/**
 * Keeps locks and completed keys in Redis (7.0 or newer, or Valkey; alone, with sentinels or as a cluster), where they expire by
 * themselves. A server that loses what it confirmed (no `appendfsync always`, a failover) forgets locks and completed keys with it.
 *
 * @throws SluiceError `CONFIG` for what is no client
 */
export function redisStore(client: RedisLike, options: RedisStoreOptions = {}): IdempotencyStore {
  const { prefix = "sluice:idempotent:" } = options;
  checkMethods("redisStore: the client", client, ["eval"], "give a Redis or Cluster of ioredis");
  const run = (script: string, key: string, ...rest: (string | number)[]): Promise<unknown> =>
    client.eval(script, 1, prefix + key, ...rest);
  const lock = (owner: string): string => `lock:${owner}`;
  return {
    async acquire(key, owner, lockMs): Promise<Acquired> {
      const answer = await run(acquire, key, lock(owner), Math.ceil(lockMs));
      const [state, forMs] = Array.isArray(answer) ? (answer as unknown[]).map(String) : [];
      if (state === "acquired" || state === "completed") return { state };
      if (state === "locked") return { state, forMs: Math.max(0, Number(forMs)) };
      throw new TypeError(
        `redisStore: the client answered ${JSON.stringify(answer)}; give one that answers as ioredis does`,
      );
    },
    renew: async (key, owner, lockMs) => Number(await run(renew, key, lock(owner), Math.ceil(lockMs))) === 1,
    complete: async (key, owner, ttlMs) => Number(await run(complete, key, lock(owner), Math.ceil(ttlMs))) === 1,
    release: async (key, owner) => void (await run(release, key, lock(owner))),
  };
}
