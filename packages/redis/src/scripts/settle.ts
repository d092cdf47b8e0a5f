import { type Script, script } from "./script.ts";
import { storeFunction } from "./store.ts";

/**
 * Whether an entry is still ours. n.b. XACK and XCLAIM do not ask: the old holder of an entry could acknowledge it, or take it back,
 * under the hands of the new one.
 */
const mineFunction = `
local function mine(stream, group, consumer, id)
  local pending = redis.call('XPENDING', stream, group, id, id, 1, consumer)
  return pending[1]
end

local function settled(stream, group, id, delete)
  redis.call('XACK', stream, group, id)
  if delete then redis.call('XDEL', stream, id) end
end

-- In an ordered group the lease of the shard counts, not the consumer of the entry alone.
local function holds(lease, consumer)
  return lease == '' or redis.call('GET', lease) == consumer
end
`;

/**
 * Accepts entries of several streams.
 *
 * KEYS: streams and leases. ARGV: group, consumer, then per stream: its index and that of its lease (of KEYS, 0: none), '1' to delete
 * its entries, how many, their ids. Answers 1 or 0 (not ours) per entry.
 */
export const accept: Script = script(
  mineFunction,
  `
local answers = {}
local group, consumer = ARGV[1], ARGV[2]
local at = 3
while at <= #ARGV do
  local stream, lease = KEYS[tonumber(ARGV[at])], KEYS[tonumber(ARGV[at + 1])] or ''
  local delete, first = ARGV[at + 2] == '1', at + 4
  at = first + tonumber(ARGV[at + 3])
  local held, ours, seen = holds(lease, consumer), {}, {}
  for index = first, at - 1 do
    local id = ARGV[index]
    local yes = held and not seen[id] and mine(stream, group, consumer, id)
    seen[id] = true
    if yes then ours[#ours + 1] = id end
    answers[#answers + 1] = yes and 1 or 0
  end
  if #ours > 0 then
    redis.call('XACK', stream, group, unpack(ours))
    if delete then redis.call('XDEL', stream, unpack(ours)) end
  end
end
return answers
`,
);

/**
 * Gives entries back through the group's own entry, where they wake a waiting member at once: an entry that is only released would
 * wait until somebody looks for idle ones. The count of deliveries goes with it.
 *
 * KEYS: stream, own entry. ARGV: group, consumer, '1' to delete, then per entry: id, deliveries so far. Answers 1 or 0 per entry.
 */
export const giveBack: Script = script(
  mineFunction,
  `
local answers = {}
for index = 4, #ARGV, 2 do
  local id = ARGV[index]
  local answer = 0
  if mine(KEYS[1], ARGV[1], ARGV[2], id) then
    answer = 1
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry then
      local fields = {}
      for field = 1, #entry[2], 2 do
        if entry[2][field] ~= 'sluice-deliveries' then
          fields[#fields + 1] = entry[2][field]
          fields[#fields + 1] = entry[2][field + 1]
        end
      end
      fields[#fields + 1] = 'sluice-deliveries'
      fields[#fields + 1] = ARGV[index + 1]
      redis.call('XADD', KEYS[2], '*', unpack(fields))
    end
    settled(KEYS[1], ARGV[1], id, ARGV[3] == '1')
  end
  answers[#answers + 1] = answer
end
return answers
`,
);

/** Renews leases of entries: KEYS: stream. ARGV: group, consumer, ids… Answers 1 or 0 per id. n.b. JUSTID keeps the count. */
export const renew: Script = script(
  mineFunction,
  `
local answers = {}
for index = 3, #ARGV do
  local ours = mine(KEYS[1], ARGV[1], ARGV[2], ARGV[index])
  if ours then redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[index], 'JUSTID') end
  answers[#answers + 1] = ours and 1 or 0
end
return answers
`,
);

/**
 * A move in one step: stores copies and accepts the originals, or does nothing.
 *
 * KEYS: streams, leases, waiting places. ARGV: window, number of writes, writes…, group, consumer, number of originals, then per
 * original: stream, lease (index of KEYS, 0: none), id, '1' to delete. Answers 'done', 'lost', 0 (no such stream) or an error.
 */
export const commit: Script = script(
  mineFunction,
  storeFunction,
  `
local writes = {}
local at = 3
for index = 1, tonumber(ARGV[2]) do
  writes[index], at = written(at, ARGV[1])
end
local group, consumer, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
local first = at + 3
for index = 0, count - 1 do
  local base = first + index * 4
  local lease = KEYS[tonumber(ARGV[base + 1])] or ''
  if not holds(lease, consumer) or not mine(KEYS[tonumber(ARGV[base])], group, consumer, ARGV[base + 2]) then
    return 'lost'
  end
end
for _, write in ipairs(writes) do
  if redis.call('EXISTS', write.stream) == 0 then return 0 end
end
for _, write in ipairs(writes) do
  local answer = store(write)
  if type(answer) == 'table' and answer.err then return 'error ' .. answer.err end
end
for index = 0, count - 1 do
  local base = first + index * 4
  settled(KEYS[tonumber(ARGV[base])], group, ARGV[base + 2], ARGV[base + 3] == '1')
end
return 'done'
`,
);
