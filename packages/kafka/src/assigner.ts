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
  const total = [...partitions.values()].reduce((sum, ids) => sum + ids.length, 0);
  const share = Math.ceil(total / Math.max(1, members.length));
  const loadOf = (memberId: string): number => loads.get(memberId) ?? 0;
  for (const [topic, ids] of [...partitions].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const readers = members.filter(({ topics }) => topics.includes(topic));
    if (readers.length === 0) continue;
    const free = new Set(ids);
    const countOf = (memberId: string): number => assignment.get(memberId)?.[topic]?.length ?? 0;
    const give = (memberId: string, id: number): void => {
      free.delete(id);
      const given = assignment.get(memberId);
      if (given) (given[topic] ??= []).push(id);
      loads.set(memberId, loadOf(memberId) + 1);
    };
    const even = Math.floor(ids.length / readers.length);
    let spare = ids.length % readers.length;
    for (const { memberId, owned } of readers) {
      for (const id of new Set(owned[topic])) {
        // One more than the even part only as far as some have to, and not for who has enough of other topics.
        const more = countOf(memberId) === even && spare > 0 && loadOf(memberId) < share;
        if (!free.has(id) || (countOf(memberId) >= even && !more)) continue;
        if (more) spare -= 1;
        give(memberId, id);
      }
    }
    for (const id of [...free].sort((one, other) => one - other)) {
      const [least] = readers.toSorted(
        (one, other) =>
          countOf(one.memberId) - countOf(other.memberId) || loadOf(one.memberId) - loadOf(other.memberId),
      );
      if (least) give(least.memberId, id);
    }
  }
  return assignment;
}
