/** The parts of a decoded fetch answer that are touched here. */
interface FetchedRecord {
  readonly offset: string;
  readonly key: Uint8Array | null;
  isControlRecord: boolean;
  readonly batchContext?: { readonly producerId: string; readonly inTransaction: boolean };
}
export interface FetchedPartition {
  readonly messages: readonly FetchedRecord[];
  abortedTransactions: readonly { readonly producerId: string; readonly firstOffset: string }[] | null;
}

/**
 * Hides the records of aborted transactions as kafkajs hides control records, so that they still count as read. n.b. brokers list
 * aborted transactions by their ends; kafkajs takes the list for one by beginnings, and hands out records of those that overlap.
 */
export function hideAborted(partition: FetchedPartition): void {
  const { abortedTransactions, messages } = partition;
  if (!abortedTransactions || abortedTransactions.length === 0) return;
  const begins = abortedTransactions
    .map(({ producerId, firstOffset }) => ({ producerId, first: BigInt(firstOffset) }))
    .toSorted((one, other) => (one.first < other.first ? -1 : 1));
  const aborting = new Set<string>();
  let next = 0;
  for (const message of messages) {
    const offset = BigInt(message.offset);
    for (let begin = begins[next]; begin && begin.first <= offset; begin = begins[++next])
      aborting.add(begin.producerId);
    const { producerId = "", inTransaction = false } = message.batchContext ?? {};
    if (!inTransaction || !aborting.has(producerId)) continue;
    if (message.isControlRecord) aborting.delete(producerId);
    else message.isControlRecord = true;
  }
  partition.abortedTransactions = [];
}
