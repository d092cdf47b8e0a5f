import { idFunctions, type Script, script } from "./script.ts";

/**
 * Makes empty streams and their groups, and says what was there. n.b. an empty stream stays: there is no other way to make one
 * without a group.
 *
 * KEYS: streams… ARGV: group or '', start id. Answers how many streams and groups were made.
 */
export const make: Script = script(`
local made = 0
for _, stream in ipairs(KEYS) do
  if ARGV[1] == '' then
    local type = redis.call('TYPE', stream).ok
    if type == 'none' then
      redis.call('XDEL', stream, redis.call('XADD', stream, '*', 'empty', ''))
      made = made + 1
    elseif type ~= 'stream' then
      return redis.error_reply('WRONGTYPE the key is a ' .. type .. ', not a stream')
    end
  else
    local answer = redis.pcall('XGROUP', 'CREATE', stream, ARGV[1], ARGV[2], 'MKSTREAM')
    if not answer.err then
      made = made + 1
    elseif string.sub(answer.err, 1, 9) ~= 'BUSYGROUP' and string.sub(answer.err, 1, 10) ~= '-BUSYGROUP' then
      return redis.error_reply(answer.err)
    end
  end
end
return made
`);

/**
 * Trims streams to what some group has not settled, and to what is young. A stream that no group reads is left alone, unless there
 * are hard limits.
 *
 * KEYS: streams… ARGV: retention in milliseconds, most entries or '', greatest age in milliseconds or ''. Answers how many entries
 * were deleted, and how many of them by the hard limits.
 */
export const trim: Script = script(
  idFunctions,
  `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local young = string.format('%.0f-0', now - tonumber(ARGV[1]))
local deleted, hard = 0, 0

local function settledUpTo(stream)
  local settled
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local values = {}
    for index = 1, #info, 2 do values[info[index]] = info[index + 1] end
    local oldest = values['last-delivered-id']
    if values['pending'] > 0 then oldest = redis.call('XPENDING', stream, values['name'])[2] end
    if not settled or before(oldest, settled) then settled = oldest end
  end
  return settled
end

for _, stream in ipairs(KEYS) do
  if redis.call('TYPE', stream).ok == 'stream' then
    local settled = settledUpTo(stream)
    if settled then
      local least = before(settled, young) and settled or young
      deleted = deleted + redis.call('XTRIM', stream, 'MINID', '~', least, 'LIMIT', 0)
    end
    if ARGV[2] ~= '' then hard = hard + redis.call('XTRIM', stream, 'MAXLEN', '~', ARGV[2], 'LIMIT', 0) end
    if ARGV[3] ~= '' then
      local oldest = string.format('%.0f', now - tonumber(ARGV[3]))
      hard = hard + redis.call('XTRIM', stream, 'MINID', '~', oldest, 'LIMIT', 0)
    end
  end
end
return { deleted + hard, hard }
`,
);

/**
 * What waits in a stream for a group: not delivered, delivered and not settled, age of the oldest not delivered. -1 = cannot be told.
 *
 * KEYS: stream. ARGV: group, most entries to count one by one.
 */
export const waiting: Script = script(`
local info = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if info.err then return redis.error_reply('NOGROUP ' .. info.err) end
for _, each in ipairs(info) do
  local values = {}
  for index = 1, #each, 2 do values[each[index]] = each[index + 1] end
  if values['name'] == ARGV[1] then
    local after = '(' .. values['last-delivered-id']
    local ready = values['lag']
    -- n.b. no lag is not "nothing": entries were deleted ahead of the group, or it began in the middle.
    if not ready then
      ready = #redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', ARGV[2])
      if ready == tonumber(ARGV[2]) then ready = -1 end
    end
    local age = -1
    local oldest = ready ~= 0 and redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', 1)[1]
    if oldest then
      local time = redis.call('TIME')
      local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
      age = math.max(0, now - tonumber(string.match(oldest[1], '%d+')))
    end
    return { ready, values['pending'], age }
  end
end
return redis.error_reply('NOGROUP no group ' .. ARGV[1])
`);

/** KEYS: streams… ARGV: group or ''. Answers how many streams do not exist, or have no such group. */
export const look: Script = script(`
local missing = 0
for _, stream in ipairs(KEYS) do
  local found = false
  if ARGV[1] == '' then
    found = redis.call('EXISTS', stream) == 1
  else
    local info = redis.pcall('XINFO', 'GROUPS', stream)
    if not info.err then
      for _, group in ipairs(info) do
        for index = 1, #group, 2 do
          if group[index] == 'name' and group[index + 1] == ARGV[1] then found = true end
        end
      end
    end
  end
  if not found then missing = missing + 1 end
end
return missing
`);

/**
 * Moves a group: entries that its members hold are settled by it, and come again when they are behind the new position.
 *
 * KEYS: streams… ARGV: group, id after which it goes on.
 */
export const seekGroup: Script = script(`
for _, stream in ipairs(KEYS) do
  redis.call('XGROUP', 'SETID', stream, ARGV[1], ARGV[2])
  while true do
    local pending = redis.call('XPENDING', stream, ARGV[1], '-', '+', 500)
    if #pending == 0 then break end
    local ids = {}
    for index, each in ipairs(pending) do ids[index] = each[1] end
    redis.call('XACK', stream, ARGV[1], unpack(ids))
  end
end
return 1
`);
