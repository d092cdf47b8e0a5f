/** What a member tells the leader: what it wants to read, and what it reads now. */
export interface Wish {
  readonly memberId: string;
  readonly topics: readonly string[];
  readonly owned: Readonly<Record<string, readonly number[]>>;
}

export type Assignment = Map<string, Record<string, number[]>>;

/**
 * Gives every partition to one member that wants its topic: evenly per topic, and to the member that has it already where that
 * stays even, because a partition that moves is a partition whose records run twice.
 */
export function distribute(wishes: readonly Wish[], partitions: ReadonlyMap<string, readonly number[]>): Assignment {
  const members = [...wishes].sort((one, other) => (one.memberId < other.memberId ? -1 : 1));
  const assignment: Assignment = new Map(members.map(({ memberId }) => [memberId, {}]));
  const loads = new Map(members.map(({ memberId }) => [memberId, 0]));
  for (const [topic, ids] of [...partitions].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const readers = members.filter(({ topics }) => topics.includes(topic));
    if (readers.length === 0) continue;
    const free = new Set(ids);
    const give = (memberId: string, id: number): void => {
      free.delete(id);
      const given = assignment.get(memberId);
      if (given) (given[topic] ??= []).push(id);
      loads.set(memberId, (loads.get(memberId) ?? 0) + 1);
    };
    const quota = Math.floor(ids.length / readers.length);
    for (const { memberId, owned } of readers) {
      const kept = [...new Set(owned[topic])].filter((id) => free.has(id));
      for (const id of kept.slice(0, quota)) give(memberId, id);
    }
    const countOf = (memberId: string): number => assignment.get(memberId)?.[topic]?.length ?? 0;
    for (const id of [...free].sort((one, other) => one - other)) {
      const [least] = readers.toSorted(
        (one, other) =>
          countOf(one.memberId) - countOf(other.memberId) ||
          (loads.get(one.memberId) ?? 0) - (loads.get(other.memberId) ?? 0),
      );
      if (least) give(least.memberId, id);
    }
  }
  return assignment;
}
