import type { PayloadLimits } from "./limits.ts";
import { Unreadable } from "./unreadable.ts";

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * Nesting and number of elements of a JSON text, without making anything of it. Whether it is JSON is for the parser to say.
 * @throws Unreadable above a limit
 */
export function scanJson(body: Uint8Array, limits: PayloadLimits): void {
  let depth = 0;
  let elements = 0;
  const { length } = body;
  for (let at = 0; at < length; at++) {
    const byte = body[at];
    if (byte === quote) {
      at = endOfString(body, at + 1);
    } else if (byte === comma) {
      if (++elements > limits.elements) throw above("elements", limits.elements);
    } else if (byte === openBracket || byte === openBrace) {
      if (++depth > limits.depth) throw above("levels of nesting", limits.depth);
      if (++elements > limits.elements) throw above("elements", limits.elements);
    } else if (byte === closeBracket || byte === closeBrace) {
      depth--;
    }
  }
}

function endOfString(body: Uint8Array, start: number): number {
  let at = start;
  while (at < body.length && body[at] !== quote) at += body[at] === backslash ? 2 : 1;
  return at;
}

function above(what: string, limit: number): Unreadable {
  return new Unreadable(`the JSON text has more than ${limit} ${what}`);
}
