/** Longest text and longest pattern that are tried on each other. */
const maxText = 100;

/**
 * Whether a text matches a pattern of a schema; undefined where it is not tried. n.b. a pattern may come from somebody else,
 * and one such as `(a+)+$` needs years for forty characters: only patterns that cannot do so are run.
 */
export function matches(pattern: string, text: string): boolean | undefined {
  if (text.length > maxText || !isTame(pattern)) return undefined;
  try {
    return new RegExp(pattern, "u").test(text);
  } catch {
    return undefined;
  }
}

/** No repeated groups, no back references, one or two repetitions and a few optional parts: at worst some 10,000 steps. */
function isTame(pattern: string): boolean {
  const bare = pattern.replaceAll(/\\[^1-9k]/g, "x").replaceAll(/\[[^\]]*\]/g, "x");
  if (pattern.length > maxText || /\\[1-9k]/.test(bare) || /\)(?:[*+]|\{)/.test(bare)) return false;
  const repetitions = bare.match(/[*+]|\{\d+(?:,\d*)?\}/g) ?? [];
  const optional = bare.match(/(?<!\()\?/g) ?? [];
  // Without an anchor every place is tried anew.
  return repetitions.length <= (pattern.startsWith("^") ? 2 : 1) && optional.length <= 4;
}

/** Whether no name can match both: both start with letters, and these differ. */
export function disjoint(one: string, other: string): boolean {
  const prefix = (pattern: string) => /^\^([\w-]*)(?![*?{])/.exec(pattern)?.[1];
  const [left, right] = [prefix(one), prefix(other)];
  if (left === undefined || right === undefined) return false;
  return !left.startsWith(right) && !right.startsWith(left);
}
