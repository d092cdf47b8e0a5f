/**
 * What a commit's metadata says beside the offset. Kafka counts no deliveries and has no fencing number for a partition, so
 * each holder writes down what it is about to run, and the next one reads it.
 */
export interface Journal {
  /** Grows with every holder of the partition: the fence. */
  readonly epoch: number;
  /** Partitions of the topic when the group began with "now"; 0 = it began with everything. Later ones are read from their start. */
  readonly born: number;
  /** How often records may have been started without a clean end, in stretches from the committed offset on. */
  readonly starts: readonly Stretch[];
  /** Finished records behind the committed offset, in order: the next holder leaves them out. */
  readonly finished: readonly number[];
}

/** Records from the end of the stretch before (or the committed offset) up to `upto`, exclusive. */
export interface Stretch {
  readonly upto: number;
  readonly count: number;
}

/** n.b. the broker refuses metadata above 4,096 UTF-16 units, and with it the whole entry of the commit. */
const maxStretches = 64;
/** No window is that large: what says so was not written by us. */
const maxRun = 1_000_000;
const maxUnits = 4_096;
const form = /^sluice1 (\d{1,16}) (\d{1,6})((?: \d{1,16}:\d{1,6})*)((?: \d{1,16}\+\d{1,9})*)$/;

/** What does not fit is left out: then it is run again, which is no worse than without it. */
export function encodeJournal(journal: Journal): string {
  const stretches = journal.starts.slice(0, maxStretches).map(({ upto, count }) => ` ${upto}:${count}`);
  let text = `sluice1 ${journal.epoch} ${journal.born}${stretches.join("")}`;
  for (const [first, length] of runsOf(journal.finished)) {
    const run = ` ${first}+${length}`;
    if (text.length + run.length > maxUnits) break;
    text += run;
  }
  return text;
}

/** Offsets without a gap between them, as first and length. */
function runsOf(offsets: readonly number[]): readonly (readonly [number, number])[] {
  const runs: [number, number][] = [];
  for (const offset of offsets) {
    const last = runs.at(-1);
    if (last && last[0] + last[1] === offset) last[1] += 1;
    else runs.push([offset, 1]);
  }
  return runs;
}

/** `undefined` for what somebody else wrote. */
export function decodeJournal(metadata: string): Journal | undefined {
  const match = form.exec(metadata);
  if (!match) return undefined;
  const starts = pairsIn(match[3], ":").map(([upto, count]): Stretch => ({ upto, count }));
  const finished = pairsIn(match[4], "+").flatMap(([first, length]) =>
    Array.from({ length: Math.min(length, maxRun) }, (_, index) => first + index),
  );
  return { epoch: Number(match[1]), born: Number(match[2]), starts, finished };
}

function pairsIn(text: string | undefined, separator: string): readonly (readonly [number, number])[] {
  const parts = text?.split(" ").filter((part) => part !== "") ?? [];
  return parts.map((part) => {
    const [first, second] = part.split(separator);
    return [Number(first), Number(second)];
  });
}

/** How often the record at `offset` was started before. */
export function startsAt(starts: readonly Stretch[], offset: number): number {
  return starts.find(({ upto }) => offset < upto)?.count ?? 0;
}

/** The stretches that are still ahead of `from`. */
export function startsFrom(starts: readonly Stretch[], from: number): readonly Stretch[] {
  return starts.filter(({ upto }) => upto > from);
}

/** Only of records before this offset. */
export function startsBefore(starts: readonly Stretch[], end: number): readonly Stretch[] {
  const until = starts.findIndex(({ upto }) => upto >= end);
  const last = starts[until];
  if (!last) return starts;
  const begin = starts[until - 1]?.upto ?? Number.NEGATIVE_INFINITY;
  return begin < end ? [...starts.slice(0, until), { upto: end, count: last.count }] : starts.slice(0, until);
}

/** The same after one more start of everything from `from` to `upto`, exclusive. */
export function countStart(starts: readonly Stretch[], from: number, upto: number): readonly Stretch[] {
  const counted: Stretch[] = [];
  let begin = from;
  const push = (end: number, count: number): void => {
    if (end <= begin) return;
    const before = counted.at(-1);
    if (before?.count === count) counted.pop();
    counted.push({ upto: end, count });
    begin = end;
  };
  for (const stretch of startsFrom(starts, from)) {
    push(Math.min(stretch.upto, upto), stretch.count + 1);
    push(stretch.upto, stretch.count);
  }
  push(upto, 1);
  return counted;
}
