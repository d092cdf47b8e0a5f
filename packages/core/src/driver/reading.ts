import type { Destination } from "./record.ts";

/** The largest distance from 1970 that a Date can hold, in milliseconds. */
const longestMs = 8.64e15;

/** Wall milliseconds that somebody else wrote; `undefined` unless they are a whole number that a Date can hold, from 1970 on. */
export function readTime(ms: number | undefined): number | undefined {
  return ms !== undefined && Number.isSafeInteger(ms) && ms >= 0 && ms <= longestMs ? ms : undefined;
}

/** The destination that a driver wrote as JSON into a waiting place; `undefined` for what is none. */
export function readDestination(text: string | undefined): Destination | undefined {
  try {
    const to: unknown = JSON.parse(text ?? "");
    if (typeof to !== "object" || to === null || !("topic" in to) || typeof to.topic !== "string") return undefined;
    if (!("group" in to) || typeof to.group !== "string") return { topic: to.topic };
    const deadLetter = "deadLetter" in to && to.deadLetter === true;
    return { topic: to.topic, group: to.group, ...(deadLetter && { deadLetter }) };
  } catch {
    return undefined;
  }
}
