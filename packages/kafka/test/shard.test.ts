import type { Delivery, Source } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import type { ClientRecord, CommitPosition } from "../src/client.ts";
import { decodeJournal } from "../src/journal.ts";
import { type Begin, Shard } from "../src/shard.ts";

const source: Source = { topic: "orders", group: "billing", start: "earliest" };
const place = { id: "orders/0", source, topic: "orders", partition: 0, until: Number.POSITIVE_INFINITY };
const record = (offset: number): ClientRecord => ({
  offset: String(offset),
  timestamp: "1795000000000",
  key: null,
  value: Buffer.from(`body ${offset}`),
});

/** A shard with records 0, 1, 2, … read and its first commit stored. */
function opened({
  window = 10,
  records = 5,
  begin = {},
}: {
  window?: number;
  records?: number;
  begin?: Partial<Begin>;
}): Shard {
  const start: Begin = { position: 0, starts: [], finished: [], epoch: 7, born: 0, ...begin };
  const shard = new Shard(place, start, { window, counted: true, load: { bytes: 0 } });
  shard.ready = true;
  for (let offset = start.position; offset < records; offset += 1) shard.add(record(offset), 0);
  shard.stored(shard.commitPosition(false));
  return shard;
}

function takeAll(shard: Shard): Delivery[] {
  const taken: Delivery[] = [];
  for (let next = shard.take(0); next; next = shard.take(0)) taken.push(next);
  return taken;
}

const startsOf = (commit: CommitPosition) => decodeJournal(commit.metadata)?.starts;

describe("a partition that is ours", () => {
  test("hands out no more than the window behind the committed offset", () => {
    const shard = opened({ window: 3 });
    const [first, second] = takeAll(shard);
    expect(shard.out.size).toBe(3);
    expect(first && shard.accept(first)).toBe(true);
    expect(shard.take(0)).toBeUndefined();
    expect(shard.needsCommit).toBe(true);
    shard.stored(shard.commitPosition(false));
    expect(takeAll(shard)).toHaveLength(1);
    expect(second && shard.accept(second)).toBe(true);
  });

  test("takes a settlement once, and none of what is not its own", () => {
    const shard = opened({});
    const [first] = takeAll(shard);
    const foreign = takeAll(opened({}))[0];
    expect(first && shard.accept(first)).toBe(true);
    expect(first && shard.accept(first)).toBe(false);
    expect(foreign && shard.accept(foreign)).toBe(false);
  });

  test("ignores what was read before, which a rejoin brings again", () => {
    const shard = opened({ records: 3 });
    shard.add(record(1), 0);
    expect(takeAll(shard).map(({ id }) => id)).toEqual(["orders/0/0", "orders/0/1", "orders/0/2"]);
  });

  test("hands out by due time, and commits by offset", () => {
    const shard = opened({ records: 0 });
    shard.add(record(0), 50);
    shard.add(record(1), 20);
    shard.add(record(2), 20);
    shard.stored(shard.commitPosition(false));
    expect(shard.take(10)).toBeUndefined();
    expect(shard.nextDue).toBe(20);
    const early = [shard.take(30), shard.take(30), shard.take(30)];
    expect(early.map((delivery) => delivery?.id)).toEqual(["orders/0/1", "orders/0/2", undefined]);
    for (const delivery of early) if (delivery) shard.accept(delivery);
    expect(shard.position).toBe(0);
    expect(shard.take(60)?.id).toBe("orders/0/0");
  });

  test("a finite source ends at its snapshot", () => {
    const shard = new Shard(
      { ...place, until: 2 },
      { position: 0, starts: [], finished: [], epoch: 1, born: 0 },
      { window: 9, counted: true, load: { bytes: 0 } },
    );
    shard.ready = true;
    for (let offset = 0; offset < 5; offset += 1) shard.add(record(offset), 0);
    shard.stored(shard.commitPosition(false));
    expect(shard.exhausted).toBe(false);
    expect(takeAll(shard)).toHaveLength(2);
    expect(shard.exhausted).toBe(true);
  });

  test("what core never saw is forgotten at a stop, and read again later", () => {
    const shard = opened({ window: 2 });
    const [first] = takeAll(shard);
    shard.dropWaiting();
    expect(shard.waiting).toBe(0);
    expect(shard.next).toBe(2);
    expect(first && shard.accept(first)).toBe(true);
    expect(shard.commitPosition(true)).toMatchObject({ offset: 1 });
  });
});

describe("what is finished behind an unfinished record", () => {
  const settledMiddle = (): Shard => {
    const shard = opened({ window: 6, records: 6 });
    const taken = takeAll(shard);
    for (const index of [1, 2, 4]) {
      const delivery = taken[index];
      expect(delivery && shard.accept(delivery)).toBe(true);
    }
    return shard;
  };

  test("is told to the next holder, who leaves it out and goes on telling it", () => {
    const commit = settledMiddle().commitPosition(true);
    expect(commit.offset).toBe(0);
    const journal = decodeJournal(commit.metadata);
    expect(journal?.finished).toEqual([1, 2, 4]);
    const next = opened({ window: 6, records: 4, begin: { finished: journal?.finished ?? [] } });
    expect(takeAll(next).map(({ id }) => id)).toEqual(["orders/0/0", "orders/0/3"]);
    // Offset 4 was not read yet.
    expect(decodeJournal(next.commitPosition(true).metadata)?.finished).toEqual([1, 2, 4]);
    const first = next.out.keys().next().value;
    expect(first && next.accept(first)).toBe(true);
    expect(decodeJournal(next.commitPosition(true).metadata)?.finished).toEqual([4]);
    expect(next.commitPosition(true).offset).toBe(3);
  });

  test("is part of the next commit although the offset stands still", () => {
    const shard = opened({ window: 6, records: 6 });
    shard.dirty = false;
    const second = takeAll(shard)[1];
    expect(second && shard.accept(second)).toBe(true);
    expect(shard.dirty).toBe(true);
  });
});

describe("the start mark", () => {
  test("covers the window while records may run, and nothing after a clean end", () => {
    const shard = opened({ window: 4 });
    expect(startsOf(shard.commitPosition(false))).toEqual([{ upto: 4, count: 1 }]);
    expect(startsOf(shard.commitPosition(true))).toEqual([]);
  });

  test("is counted by the next holder, and a clean end does not raise it", () => {
    const starts = startsOf(opened({ window: 4 }).commitPosition(false)) ?? [];
    const next = opened({ window: 4, begin: { starts } });
    expect(takeAll(next).map(({ deliveries }) => deliveries)).toEqual([2, 2, 2, 2]);
    expect(startsOf(next.commitPosition(true))).toEqual(starts);
  });

  test("of a probe covers the one record in hand", () => {
    const shard = opened({ window: 1, begin: { starts: [{ upto: 3, count: 2 }] } });
    // Nothing is marked, and so nothing handed out, before somebody wants it.
    expect(startsOf(shard.commitPosition(false))).toEqual([{ upto: 3, count: 2 }]);
    expect(shard.take(0)).toBeUndefined();
    expect(shard.want(0)).toBe(true);
    const marked = shard.commitPosition(false);
    expect(startsOf(marked)).toEqual([
      { upto: 1, count: 3 },
      { upto: 3, count: 2 },
    ]);
    shard.stored(marked);
    const suspect = shard.take(0);
    expect(suspect?.deliveries).toBe(3);
    expect(shard.take(0)).toBeUndefined();
    expect(suspect && shard.accept(suspect)).toBe(true);
    expect(startsOf(shard.commitPosition(false))).toEqual([{ upto: 3, count: 2 }]);
  });

  test("reaches a record behind a gap", () => {
    const shard = opened({ window: 1, records: 0 });
    shard.add(record(900), 0);
    expect(shard.want(0)).toBe(true);
    shard.stored(shard.commitPosition(false));
    expect(shard.take(0)?.id).toBe("orders/0/900");
  });
});
