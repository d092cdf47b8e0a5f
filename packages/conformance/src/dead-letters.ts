/** Dead letters as the raw client sees them. */
import assert from "node:assert/strict";
import { pause, within } from "./clock.ts";
import type { CaseContext } from "./context.ts";
import type { RawRecord } from "./harness.ts";

/** A raw header as text. */
export function headerOf(
  headers: Readonly<Record<string, string | Uint8Array>> | undefined,
  name: string,
): string | undefined {
  const value = headers?.[name];
  return value === undefined || typeof value === "string" ? value : Buffer.from(value).toString();
}

/** Waits until the group has so many dead letters; resolves to them. */
export async function untilDead(
  context: CaseContext,
  topic: string,
  group: string,
  count: number,
): Promise<readonly RawRecord[]> {
  let records = await context.raw.deadLetters(topic, group);
  const find = async () => {
    while ((records = await context.raw.deadLetters(topic, group)).length < count) await pause(50);
    return records;
  };
  const found = await within(
    context.limits().idleMs,
    `${count} dead letters of ${group}`,
    find(),
    () => `there are ${records.length}\n${context.journal.tail()}`,
  );
  assert.equal(found.length, count, "more dead letters than expected");
  return found;
}
