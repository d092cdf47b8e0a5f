/** Dead letters as the raw client sees them. */
import { poll } from "./clock.ts";
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

/** Waits until the group has exactly so many dead letters; resolves to them. */
export async function untilDead(
  context: CaseContext,
  topic: string,
  group: string,
  count: number,
): Promise<readonly RawRecord[]> {
  let records: readonly RawRecord[] = [];
  const what = () =>
    `the group ${group} has ${count} dead letters (it has ${records.length})\n${context.journal.tail()}`;
  return poll(context.limits().idleMs, what, async () => {
    records = await context.raw.deadLetters(topic, group);
    return records.length === count ? records : undefined;
  });
}
