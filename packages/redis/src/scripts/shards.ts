import { type Script, script } from "./script.ts";

/**
 * Heartbeat of an instance of an ordered group: says that it lives, renews the leases that are its own, and takes free ones up to a
 * fair share. Every new holder of a shard gets a higher fence.
 *
 * KEYS: members, meta, leases… ARGV: consumer, lease milliseconds, group. Answers: fair share, then per shard its fence when it is
 * ours, or -1.
 */
export const beat: Script = script(`
local consumer, lease, group = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], now + lease, consumer)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], lease * 10)
local shards = #KEYS - 2
local share = math.ceil(shards / redis.call('ZCARD', KEYS[1]))
local held = 0
local answers = { share }
for index = 1, shards do
  answers[index + 1] = -1
  if redis.call('GET', KEYS[index + 2]) == consumer then
    redis.call('PEXPIRE', KEYS[index + 2], lease)
    answers[index + 1] = tonumber(redis.call('HGET', KEYS[2], 'fence:' .. (index - 1) .. ':' .. group) or 0)
    held = held + 1
  end
end
-- Not always the same one first: instances that start together spread.
local first = math.floor(now / 7) % shards
for step = 0, shards - 1 do
  local index = (first + step) % shards + 1
  if held >= share then break end
  if answers[index + 1] < 0 and redis.call('SET', KEYS[index + 2], consumer, 'NX', 'PX', lease) then
    answers[index + 1] = redis.call('HINCRBY', KEYS[2], 'fence:' .. (index - 1) .. ':' .. group, 1)
    held = held + 1
  end
end
return answers
`);

/**
 * Gives shards up. What we held and did not settle gets its count back: it was not handled, and nobody died.
 *
 * KEYS: members, then per shard: lease, and its streams (`width` in all). ARGV: group, consumer, '1' when the instance leaves, width,
 * then per entry: stream (index of KEYS), id, deliveries before.
 */
export const giveUp: Script = script(`
local group, consumer, width = ARGV[1], ARGV[2], tonumber(ARGV[4])
if ARGV[3] == '1' then redis.call('ZREM', KEYS[1], consumer) end
for index = 5, #ARGV, 3 do
  local at = tonumber(ARGV[index])
  local lease = KEYS[at - (at - 2) % width]
  if redis.call('GET', lease) == consumer then
    redis.call('XCLAIM', KEYS[at], group, consumer, 0, ARGV[index + 1], 'RETRYCOUNT', ARGV[index + 2], 'JUSTID')
  end
end
for index = 2, #KEYS, width do
  if redis.call('GET', KEYS[index]) == consumer then redis.call('DEL', KEYS[index]) end
end
return 1
`);
