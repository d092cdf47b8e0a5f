import { Queue } from "./queue.ts";

/** One order scope of a mailbox: what waits in it, and whose it is. `M` is a member's seat. */
export interface Shard<M> {
  readonly name: string;
  /** What came through the topic, and what came through the own entry. */
  readonly topic: Queue;
  readonly own: Queue;
  unsettled: number;
  /** Grows with each holder. */
  fence: bigint;
  /** Ordered only: whose it is, and whose it becomes once nothing of it is unsettled. */
  holder: M | undefined;
  next: M | undefined;
}

export function makeShard<M>(name: string): Shard<M> {
  return { name, topic: new Queue(), own: new Queue(), unsettled: 0, fence: 0n, holder: undefined, next: undefined };
}

/** Gives every shard its next holder: evenly, and moving as few as it can. Who came first has one more when it must be. */
export function spread<M>(shards: readonly Shard<M>[], members: readonly M[]): void {
  const quota = new Map<M | undefined, number>(
    members.map((member, index) => [member, Math.ceil((shards.length - index) / members.length)]),
  );
  const claim = (member: M | undefined) => {
    const left = quota.get(member) ?? 0;
    if (left > 0) quota.set(member, left - 1);
    return left > 0;
  };
  for (const shard of shards) if (!claim(shard.next)) shard.next = undefined;
  for (const shard of shards) shard.next ??= members.find(claim);
}
