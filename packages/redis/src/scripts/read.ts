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

/**
 * Takes over entries whose holder let them idle, with their count of deliveries; or, for a named old consumer of this process that is
 * gone, all of its entries, uncounted. Entries that were deleted from the stream are reported without fields.
 *
 * KEYS: streams… ARGV: group, consumer, idle milliseconds, most, old consumer or ''. Answers rows: stream (index), id, fields,
 * deliveries; and whether there may be more.
 */
export const claim: Script = script(`
local group, consumer, idle, left, old = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local rows = {}
local more = 0
for index, stream in ipairs(KEYS) do
  if left < 1 then more = 1 break end
  local pending
  if old == '' then
    pending = redis.pcall('XPENDING', stream, group, 'IDLE', idle, '-', '+', left)
  else
    pending = redis.pcall('XPENDING', stream, group, '-', '+', left, old)
  end
  if pending.err then return redis.error_reply(pending.err) end
  for _, each in ipairs(pending) do
    local id, deliveries = each[1], each[4]
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
end
return { rows, more }
`);

/**
 * Everything that is pending in a shard whose lease we have, whoever had it, in order, after a cursor.
 *
 * KEYS: stream, lease. ARGV: group, consumer, most, cursor. Answers rows as `claim`, or 'lost'.
 */
export const recover: Script = script(`
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 'lost' end
local rows = {}
for _, each in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[4], '+', ARGV[3])) do
  local id = each[1]
  local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id)[1]
  if not entry then redis.call('XACK', KEYS[1], ARGV[1], id) end
  rows[#rows + 1] = { 1, id, entry and entry[2] or false, each[4] + 1 }
end
return { rows, 0 }
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
