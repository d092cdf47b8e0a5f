import { type Script, script } from "./script.ts";

/**
 * One write: remembered by its name, so that a repeated one is stored once; into its stream, or into the waiting place until it is
 * due. Answers the entry's id, 0 when there is no such stream, or what the server refused.
 *
 * n.b. the name is the write's, not the message's: a copy of a message has another one, and is stored.
 */
export const storeFunction = `
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function store(write)
  if write.memory then
    local before = redis.call('GET', write.memory)
    if before then return before end
  end
  local answer
  if write.delay > 0 then
    if redis.call('EXISTS', write.stream) == 0 then return 0 end
    -- The counter keeps records of the same millisecond in the order of their arrival.
    local member = string.format('%016d', redis.call('HINCRBY', write.counts, ':sequence', 1))
    table.insert(write.fields, 1, write.group)
    table.insert(write.fields, 1, write.stream)
    local added = redis.pcall('HSET', write.records, member, cmsgpack.pack(write.fields))
    if type(added) == 'table' and added.err then return added end
    redis.call('ZADD', write.due, now() + write.delay, member)
    redis.call('HINCRBY', write.counts, write.group, 1)
    answer = 'delayed'
  else
    answer = redis.pcall('XADD', write.stream, 'NOMKSTREAM', '*', unpack(write.fields))
    if not answer then return 0 end
    if type(answer) == 'table' and answer.err then return answer end
  end
  if write.memory then redis.call('SET', write.memory, answer, 'PX', write.window) end
  return answer
end

-- Reads one write from the arguments: stream, waiting place (index of KEYS, 0: none), group, delay, name, number of fields and
-- values, fields.
local function written(at, window)
  local count = tonumber(ARGV[at + 5])
  local fields = {}
  for index = 1, count do fields[index] = ARGV[at + 5 + index] end
  local place = tonumber(ARGV[at + 1])
  local write = {
    stream = KEYS[tonumber(ARGV[at])], group = ARGV[at + 2], delay = tonumber(ARGV[at + 3]),
    due = KEYS[place], records = KEYS[place + 1], counts = KEYS[place + 2], window = window, fields = fields,
  }
  if ARGV[at + 4] ~= '' then write.memory = ARGV[at + 4] end
  return write, at + 6 + count
end
`;

/**
 * Several writes, in order. After the first that fails nothing later goes to the same stream: it would overtake.
 *
 * KEYS: streams and waiting places. ARGV: window, count, writes… Answers one value per write; -1 = not tried.
 */
export const storeAll: Script = script(
  storeFunction,
  `
local failed = {}
local answers = {}
local at = 3
for index = 1, tonumber(ARGV[2]) do
  local write
  write, at = written(at, ARGV[1])
  if failed[write.stream] then
    answers[index] = -1
  else
    local answer = store(write)
    if type(answer) == 'table' and answer.err then
      failed[write.stream] = true
      answers[index] = 'error ' .. answer.err
    else
      if answer == 0 then failed[write.stream] = true end
      answers[index] = answer
    end
  end
end
return answers
`,
);

/**
 * Moves what is due, for several topics: copy into its stream, then forget it, in one step. Any number of movers may run at once, and
 * one that dies leaves nothing half done.
 *
 * KEYS: due, records, counts per topic. ARGV: most records. Answers: moved, milliseconds to the next (-1: none), error or ''.
 */
export const moveDue: Script = script(
  storeFunction,
  `
local left = tonumber(ARGV[1])
local moved = 0
local nearest = -1
local trouble = ''
for index = 1, #KEYS, 3 do
  local due, records, counts = KEYS[index], KEYS[index + 1], KEYS[index + 2]
  local time = now()
  local members = left > 0 and redis.call('ZRANGEBYSCORE', due, '-inf', time, 'LIMIT', 0, left) or {}
  for _, member in ipairs(members) do
    local packed = redis.call('HGET', records, member)
    if packed then
      local record = cmsgpack.unpack(packed)
      local added = redis.pcall('XADD', record[1], '*', unpack(record, 3))
      if type(added) == 'table' and added.err then
        trouble = added.err
        break
      end
      redis.call('HINCRBY', counts, record[2], -1)
    end
    redis.call('ZREM', due, member)
    redis.call('HDEL', records, member)
    moved = moved + 1
    left = left - 1
  end
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if first[2] then
    local wait = math.max(0, tonumber(first[2]) - time)
    if nearest < 0 or wait < nearest then nearest = wait end
  end
end
return { moved, nearest, trouble }
`,
);
