import { idFunctions, type Script, script } from "./script.ts";

/**
 * Where a broadcast begins in each stream: after the last entry, or where it was; and whether something may have been deleted since.
 *
 * KEYS: streams… ARGV: earlier positions, or ''. Answers per stream: start, '1' for a gap; or '' when there is no such stream.
 */
export const begin: Script = script(
  idFunctions,
  `
local answers = {}
for index, stream in ipairs(KEYS) do
  if redis.call('EXISTS', stream) == 0 then
    answers[index] = { '', '0' }
  else
    local info = redis.call('XINFO', 'STREAM', stream)
    local values = {}
    for at = 1, #info, 2 do values[info[at]] = info[at + 1] end
    local last, old = values['last-generated-id'], ARGV[index]
    if old == '' then
      answers[index] = { last, '0' }
    elseif before(last, old) then
      -- It was deleted and made again: whatever is there now is new.
      answers[index] = { '0-0', '1' }
    else
      local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
      local whole = last == old or (first and not before(old, first[1]))
      answers[index] = { old, whole and '0' or '1' }
    end
  end
end
return answers
`,
);
