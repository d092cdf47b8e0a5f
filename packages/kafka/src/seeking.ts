import { DriverError, type GroupSource, type Position } from "@sluice/core/driver";
import type { AdminClient, CommitPosition } from "./client.ts";
import { toDriverError } from "./errors.ts";
import { decodeJournal, encodeJournal } from "./journal.ts";
import type { Names } from "./names.ts";

/**
 * Moves a group in all partitions of its topic; the own entry stays as it is.
 *
 * @throws DriverError `BUSY` while the group has members, `CONFIG` for a native position that cannot be read
 */
export async function seekGroup(admin: AdminClient, names: Names, source: GroupSource, to: Position): Promise<void> {
  const topic = names.topic(source.topic);
  const groupId = names.groupId(source);
  const offsets = await offsetsOf(admin, topic, to);
  const committed = await admin.committed(groupId, [topic]);
  const positions = [...offsets].map(([partition, offset]): CommitPosition => {
    // The fence goes on growing; what was started or finished behind the old position is no matter of the new one.
    const before = decodeJournal(committed.find((one) => one.partition === partition)?.metadata ?? "");
    const { epoch = 0, born = 0 } = before ?? {};
    return { topic, partition, offset, metadata: encodeJournal({ epoch, born, starts: [], finished: [] }) };
  });
  try {
    await admin.commitIdle(groupId, positions);
  } catch (error) {
    const failure = toDriverError(error, `cannot move group "${groupId}"`);
    if (failure.code !== "LOST") throw failure;
    throw new DriverError("BUSY", `kafka: group "${groupId}" has members; stop all of its subscriptions to move it`, {
      cause: error,
    });
  }
}

/** By partition. */
async function offsetsOf(admin: AdminClient, topic: string, to: Position): Promise<ReadonlyMap<number, number>> {
  const ends = (await admin.ends([topic])).get(topic) ?? new Map<number, { low: number; high: number }>();
  if (typeof to === "object" && "native" in to) return nativeOffsets(topic, to.native, ends);
  const times = typeof to === "object" ? await admin.offsetsFrom(topic, to.time) : undefined;
  return new Map(
    [...ends].map(([partition, { low, high }]) => {
      if (times) return [partition, times.get(partition) ?? high];
      return [partition, to === "earliest" ? low : high];
    }),
  );
}

/** `0:42,3:7`: offsets by partition; the others stay. */
function nativeOffsets(topic: string, text: string, ends: ReadonlyMap<number, unknown>): ReadonlyMap<number, number> {
  const offsets = new Map<number, number>();
  for (const part of text.split(",")) {
    const [, partition, offset] = /^\s*(\d{1,6}):(\d{1,16})\s*$/.exec(part) ?? [];
    if (partition === undefined || !ends.has(Number(partition))) {
      const problem = `position "${text}" cannot be read, or names a partition that topic "${topic}" does not have`;
      throw new DriverError("CONFIG", `kafka: ${problem}; give "partition:offset,partition:offset,…"`);
    }
    offsets.set(Number(partition), Number(offset));
  }
  return offsets;
}
