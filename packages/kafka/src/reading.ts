import type { Backlog, Delivery, Source } from "@sluice/core/driver";
import type { AdminClient, CommittedOffset } from "./client.ts";
import { decodeJournal } from "./journal.ts";
import type { Names } from "./names.ts";
import { fromKafka } from "./record.ts";

/**
 * How far a group is behind, over all of its topics: committed first and end second, so that it is never negative. Without a commit
 * a group that begins "now" has nothing to read; others have everything.
 */
export async function backlogOf(
  admin: AdminClient,
  source: Source,
  names: Names,
  remembered: ReadonlyMap<string, number>,
): Promise<Backlog> {
  const topics = names.topics(source);
  const broadcast = "broadcast" in source;
  const committed = broadcast ? [] : await admin.committed(names.groupId(source), topics);
  let ready = 0;
  for (const [topic, ends] of await admin.ends(topics)) {
    for (const [partition, { low, high }] of ends) {
      const found = committed.find((one) => one.topic === topic && one.partition === partition);
      const position = broadcast ? remembered.get(`${topic}/${partition}`) : found?.offset;
      const fromNow = broadcast || ("start" in source && source.start === "now" && topic === topics[0]);
      const from = Math.max(low, position ?? (fromNow ? high : low));
      ready += Math.max(0, high - from - finishedIn(found).filter((offset) => offset >= from).length);
    }
  }
  return "delayed" in source ? { delayed: ready } : { ready };
}

/**
 * Reads dead letters without a group, from the group's position on. The cursor is the offset per partition, so that several
 * partitions (of a topic made by others) are read one after another.
 */
export async function browseDeadLetters(
  admin: AdminClient,
  source: Source,
  names: Names,
  after: string | undefined,
  max: number,
): Promise<{ readonly deliveries: readonly Delivery[]; readonly next: string | undefined }> {
  const deliveries: Delivery[] = [];
  const [topic = ""] = names.topics(source);
  const committed = await admin.committed(names.groupId(source), [topic]);
  const ends = [...((await admin.ends([topic])).get(topic) ?? [])].sort(([one], [other]) => one - other);
  const [fromPartition = 0, fromOffset = 0] = after?.split("/").map(Number) ?? [];
  for (const [partition, { low, high }] of ends.filter(([id]) => id >= fromPartition)) {
    const found = committed.find((one) => one.partition === partition);
    const finished = new Set(finishedIn(found));
    const position = found?.offset ?? low;
    let from = Math.max(low, position, partition === fromPartition ? fromOffset : 0);
    while (from < high) {
      const { records, next } = await admin.read(topic, partition, from);
      for (const record of records) {
        if (finished.has(Number(record.offset))) continue;
        const shard = `${topic}/${partition}`;
        deliveries.push(
          fromKafka(record, { topic, partition }, { source, shard, deliveries: undefined, fence: undefined }),
        );
        if (deliveries.length >= max) return { deliveries, next: `${partition}/${Number(record.offset) + 1}` };
      }
      if (next === from) break;
      from = next;
    }
  }
  return { deliveries, next: undefined };
}

/** Records behind the committed offset that are finished all the same. */
function finishedIn(committed: CommittedOffset | undefined): readonly number[] {
  return decodeJournal(committed?.metadata ?? "")?.finished ?? [];
}
