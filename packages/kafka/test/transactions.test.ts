import { type CommitResult, type Delivery, type DriverError, type Runtime, emptyHeaders } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import type { AdminClient, CommitPosition, KafkaClient, TransactionClient } from "../src/client.ts";
import { Names } from "../src/names.ts";
import { Placer } from "../src/placing.ts";
import { Shard } from "../src/shard.ts";
import { TopicCatalogue } from "../src/topics.ts";
import { Transactions } from "../src/transactions.ts";

const place = {
  id: "in/0",
  source: { topic: "in", group: "g", start: "earliest" } as const,
  topic: "in",
  partition: 0,
  until: Number.POSITIVE_INFINITY,
};
const runtime = {
  wallMs: () => 1_795_000_000_000,
  monotonicMs: () => 0,
  random: () => 0,
} as Partial<Runtime> as Runtime;

/** What a client was asked to commit; the test answers. */
interface Asked {
  readonly sent: readonly string[];
  readonly positions: readonly CommitPosition[];
  ending(): void;
  resolve(): void;
  reject(error: Error): void;
}

/** One partition with ten records handed out, and transactions that the test answers. */
async function rig() {
  const asked: Asked[] = [];
  const ids: string[] = [];
  const failures: DriverError[] = [];
  const client: TransactionClient = {
    commit(rounds, _groupId, positions, ending) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const sent = rounds.flat().flatMap(({ messages }) => messages.map(({ value }) => String(value)));
      asked.push({ sent, positions, ending, resolve, reject });
      return promise;
    },
    dispose: () => {},
    close: async () => {},
  };
  const admin: Partial<AdminClient> = {
    look: async (topics) => ({
      partitions: new Map(topics.filter((topic) => topic !== "missing").map((topic) => [topic, 1])),
      forbidden: new Map(),
    }),
    settings: async () => new Map(),
  };
  const transactions = new Transactions({
    client: {
      transactions: async (id: string) => {
        ids.push(id);
        return client;
      },
    } as Partial<KafkaClient> as KafkaClient,
    placer: new Placer(new TopicCatalogue(admin as AdminClient, runtime, 60_000), runtime, new Names("", false)),
    groupId: "g.in",
    stored: () => {},
    failed: (error) => failures.push(error),
  });
  const begin = { position: 0, starts: [], finished: [], epoch: 1, born: 0 };
  const shard = new Shard(place, begin, { window: 100, counted: true, load: { bytes: 0 } });
  shard.ready = true;
  shard.stored(shard.commitPosition(false));
  for (let offset = 0; offset < 10; offset += 1) {
    shard.add({ offset: String(offset), timestamp: "0", key: null, value: null, headers: emptyHeaders() }, 0);
  }
  const deliveries = Array.from({ length: 10 }, () => shard.take(0)).filter((one) => one !== undefined);
  await transactions.open([place], () => true);
  const finish = (n: number, topic = "out"): Promise<CommitResult> => {
    const record = {
      id: `m-${n}`,
      dedupId: `m-${n}/0`,
      key: null,
      body: Buffer.from(`out ${n}`),
      headers: {},
      time: 0,
    };
    return transactions.commit(shard, { accept: [deliveries[n] as Delivery], send: [{ to: { topic }, record }] });
  };
  /** Lets everything run that needs no answer. */
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return { transactions, shard, deliveries, asked, ids, failures, finish, settle };
}

describe("transactions of a partition", () => {
  test("are of an id that belongs to the partition", async () => {
    const { ids } = await rig();
    expect(ids).toEqual(["g.in/in/0"]);
  });

  test("take what is finished without a gap, one after another", async () => {
    const { asked, finish, settle } = await rig();
    const [second, third] = [finish(1), finish(2)];
    await settle();
    expect(asked).toHaveLength(0);
    const first = finish(0);
    await settle();
    expect(asked[0]).toMatchObject({ sent: ["out 0", "out 1", "out 2"], positions: [{ partition: 0, offset: 3 }] });
    const fourth = finish(3);
    await settle();
    expect(asked).toHaveLength(1);
    asked[0]?.resolve();
    expect(await Promise.all([first, second, third])).toEqual(["durable", "durable", "durable"]);
    await settle();
    expect(asked[1]).toMatchObject({ sent: ["out 3"], positions: [{ offset: 4 }] });
    asked[1]?.resolve();
    expect(await fourth).toBe("durable");
  });

  test("leave out a unit with a send that cannot be; its record is still ours", async () => {
    const { asked, finish, settle, shard, deliveries } = await rig();
    expect(await finish(0, "missing")).toMatchObject({ code: "NOT_FOUND" });
    expect(shard.out.has(deliveries[0] as Delivery)).toBe(true);
    const again = finish(0);
    await settle();
    asked[0]?.resolve();
    expect(await again).toBe("durable");
  });

  test.each([
    ["lost before the request that decides", false, "lost"],
    ["unknown after it", true, "unknown"],
  ])("that fail are %s, and the receiver ends", async (_what, decided, result) => {
    const { asked, failures, finish, settle } = await rig();
    const unit = finish(0);
    await settle();
    if (decided) asked[0]?.ending();
    asked[0]?.reject(new Error("no"));
    expect(await unit).toBe(result);
    expect(failures).toHaveLength(1);
  });

  test("never go back: a position that waited behind a transaction which went further is not stored", async () => {
    const { transactions, shard, asked, finish, settle } = await rig();
    const unit = finish(0);
    await settle();
    const { topic, partition, metadata } = shard.commitPosition(false);
    const late = transactions.offsets([{ id: shard.id, topic, partition, offset: 0, metadata }]);
    asked[0]?.resolve();
    expect(await unit).toBe("durable");
    await late;
    expect(asked).toHaveLength(1);
    const same = transactions.offsets([{ id: shard.id, topic, partition, offset: 1, metadata }]);
    await settle();
    expect(asked[1]).toMatchObject({ sent: [], positions: [{ offset: 1 }] });
    asked[1]?.resolve();
    await same;
  });

  test("end what waits behind a record that core gives back", async () => {
    const { transactions, shard, deliveries, asked, finish, settle } = await rig();
    const behind = finish(3);
    await settle();
    transactions.release(shard, deliveries[2] as Delivery);
    expect(await behind).toBe("lost");
    expect(await finish(4)).toBe("lost");
    const before = Promise.all([finish(0), finish(1)]);
    await settle();
    asked[0]?.resolve();
    await settle();
    asked[1]?.resolve();
    expect(await before).toEqual(["durable", "durable"]);
  });

  test("stand still during a join; afterwards they go on, or are lost with their partition", async () => {
    const { transactions, asked, finish, settle } = await rig();
    const running = finish(0);
    await settle();
    const paused = transactions.pause();
    const waiting = finish(1);
    asked[0]?.resolve();
    expect(await running).toBe("durable");
    await paused;
    await settle();
    expect(asked).toHaveLength(1);
    transactions.resume(new Set(["in/0"]));
    await settle();
    asked[1]?.resolve();
    expect(await waiting).toBe("durable");
    const late = finish(3);
    await settle();
    transactions.resume(new Set());
    expect(await late).toBe("lost");
    expect(await finish(2)).toBe("lost");
  });

  test("are not opened any more for a partition that is on its way to somebody else", async () => {
    const { transactions, ids, finish } = await rig();
    await transactions.open([place], () => false);
    expect(ids).toHaveLength(1);
    expect(await finish(0)).toBe("lost");
  });
});
