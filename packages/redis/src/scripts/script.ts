import { createHash } from "node:crypto";

/** A Lua script and the hash by which the server knows it. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
  /** What it calls, as ACLs name it: `xadd`, `xinfo|groups`. The server checks a script's user at every call. */
  readonly commands: readonly string[];
}

export function script(...parts: readonly string[]): Script {
  const lua = parts.join("\n");
  return { lua, sha: createHash("sha1").update(lua).digest("hex"), commands: commandsOf(lua) };
}

function commandsOf(lua: string): readonly string[] {
  const commands = new Set<string>();
  for (const [, name = "", word = ""] of lua.matchAll(/redis\.p?call\('(\w+)'(?:, '(\w+)')?/g)) {
    const hasOthers = name === "XINFO" || name === "XGROUP";
    commands.add((hasOthers ? `${name}|${word}` : name).toLowerCase());
  }
  return [...commands];
}

/** Compares entry ids: as text, 9-0 would come after 10-0. */
export const idFunctions = `
local function parts(id)
  local milliseconds, sequence = string.match(id, '(%d+)-(%d+)')
  return tonumber(milliseconds), tonumber(sequence)
end

local function before(one, other)
  local a, b = parts(one)
  local c, d = parts(other)
  return a < c or (a == c and b < d)
end
`;
