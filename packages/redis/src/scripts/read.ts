import { type Script, script } from "./script.ts";

/**
 * Reads new entries of several streams, never more than asked for in all: `XREADGROUP COUNT` counts per stream. Streams whose lease
 * is not ours are left alone.
 *
 * KEYS: streams…, then leases or the stream again. ARGV: group, consumer, most. Answers per stream: entries, and once it is read to
 * the end, the group's position; or an error text.
 */
export const take: Script = script(`
local group, consumer, left = ARGV[1], ARGV[2], tonumber(ARGV[3])
local count = #KEYS / 2
local answers = {}

local function position(stream)
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local values = {}
    for index = 1, #info, 2 do values[info[index]] = info[index + 1] end
    if values['name'] == group then return values['last-delivered-id'] end
  end
  return '0-0'
end

for index = 1, count do
  local stream, lease = KEYS[index], KEYS[count + index]
  local share = math.ceil(left / (count - index + 1))
  if share < 1 then
    answers[index] = { {}, '' }
  elseif lease ~= stream and redis.call('GET', lease) ~= consumer then
    answers[index] = 'lost'
  else
    local reply = redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', share, 'STREAMS', stream, '>')
    if reply and reply.err then
      answers[index] = reply.err
    else
      local entries = reply and reply[1][2] or {}
      left = left - #entries
      answers[index] = { entries, #entries < share and position(stream) or '' }
    end
  end
end
return answers
`);

/** A consumer's name says how long it may let entries idle: instances of a group may have different leases, as in a deployment. */
export function consumerName(name: string, leaseMs: number): string {
  return `${name}:${leaseMs}ms`;
}

/**
 * Takes over entries whose holder let them idle, with their count of deliveries: for as long as we may, and as the holder may. Or, for
 * a named old consumer of this process that is gone, all of its entries, uncounted. Entries that were deleted from the stream are
 * reported without fields.
 *
 * KEYS: streams… ARGV: group, consumer, idle milliseconds, most, old consumer or ''. Answers rows: stream (index), id, fields,
 * deliveries.
 */
export const claim: Script = script(`
local group, consumer, idle, left, old = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local rows = {}

local function take(index, stream, id, deliveries)
  local entry
  if old == '' then
    entry = redis.call('XCLAIM', stream, group, consumer, idle, id)[1]
    deliveries = deliveries + 1
  else
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'JUSTID')
    entry = redis.call('XRANGE', stream, id, id)[1]
  end
  if not entry then redis.call('XACK', stream, group, id) end
  rows[#rows + 1] = { index, id, entry and entry[2] or false, deliveries }
  left = left - 1
end

local function lives(holder, idleMs)
  local lease = tonumber(string.match(holder, ':(%d+)ms$'))
  return old == '' and lease ~= nil and idleMs < lease
end

for index, stream in ipairs(KEYS) do
  local after = '-'
  while left > 0 and after do
    local count = math.max(left, 100)
    local pending
    if old == '' then
      pending = redis.pcall('XPENDING', stream, group, 'IDLE', idle, after, '+', count)
    else
      pending = redis.pcall('XPENDING', stream, group, after, '+', count, old)
    end
    if pending.err then return redis.error_reply(pending.err) end
    for _, each in ipairs(pending) do
      if left > 0 and not lives(each[2], each[3]) then take(index, stream, each[1], each[4]) end
    end
    -- Those of longer leases must not hide what is behind them.
    after = #pending == count and '(' .. pending[count][1]
  end
end
return { rows }
`);

/**
 * Everything that is pending in a shard whose lease we have, whoever had it, in order, after a cursor; but for what is in hand.
 *
 * KEYS: stream, lease. ARGV: group, consumer, most, cursor, ids in hand… Answers rows as `claim` and the next cursor ('': that was
 * all), or 'lost'.
 */
export const recover: Script = script(`
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 'lost' end
local inHand = {}
for index = 5, #ARGV do inHand[ARGV[index]] = true end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[4], '+', ARGV[3])
local rows = {}
for _, each in ipairs(pending) do
  local id = each[1]
  if not inHand[id] then
    local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id)[1]
    if not entry then redis.call('XACK', KEYS[1], ARGV[1], id) end
    rows[#rows + 1] = { 1, id, entry and entry[2] or false, each[4] + 1 }
  end
end
return { rows, #pending < tonumber(ARGV[3]) and '' or '(' .. pending[#pending][1] }
`);

/** Removes a consumer that holds nothing. n.b. XGROUP DELCONSUMER drops what it holds: checked and done in one step. */
export const leaveGroup: Script = script(`
for _, stream in ipairs(KEYS) do
  local info = redis.pcall('XINFO', 'CONSUMERS', stream, ARGV[1])
  if not info.err then
    for _, consumer in ipairs(info) do
      local values = {}
      for index = 1, #consumer, 2 do values[consumer[index]] = consumer[index + 1] end
      local ours = ARGV[2] == values['name'] or (ARGV[2] == '' and values['idle'] > tonumber(ARGV[3]))
      if ours and values['pending'] == 0 then
        redis.call('XGROUP', 'DELCONSUMER', stream, ARGV[1], values['name'])
      end
    end
  end
end
return 1
`);
