import { idFunctions, type Script, script } from "./script.ts";

/**
 * Where a broadcast begins in each stream: after the last entry, or where it was; and how many entries were deleted that it should
 * have had. The server counts every entry that was ever added, so that one can be missed only by number.
 *
 * KEYS: streams… ARGV per stream: earlier position or '', number of entries up to there. Answers per stream: position, number of
 * entries up to there, missed entries; position '' when there is no such stream.
 */
export const begin: Script = script(
  idFunctions,
  `
local answers = {}
for index, stream in ipairs(KEYS) do
  if redis.call('EXISTS', stream) == 0 then
    answers[index] = { '', 0, 0 }
  else
    local info = redis.call('XINFO', 'STREAM', stream)
    local values = {}
    for at = 1, #info, 2 do values[info[at]] = info[at + 1] end
    local last, added, length = values['last-generated-id'], values['entries-added'], values['length']
    local old, count = ARGV[index * 2 - 1], tonumber(ARGV[index * 2])
    if old == '' then
      answers[index] = { last, added, 0 }
    elseif before(last, old) then
      -- It was deleted and made again: whatever is there now is new, and nobody knows what was there before.
      answers[index] = { '0-0', added - length, math.max(1, added - length) }
    else
      local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
      local missed = 0
      if last ~= old and (not first or before(old, first[1])) then missed = math.max(0, added - count - length) end
      answers[index] = { old, count + missed, missed }
    end
  end
end
return answers
`,
);
