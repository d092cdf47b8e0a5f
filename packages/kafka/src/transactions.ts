import { type CommitResult, type Delivery, DriverError, type Unit } from "@sluice/core/driver";
import type { CommitPosition, KafkaClient, TopicPartition, TransactionClient } from "./client.ts";
import { toDriverError } from "./errors.ts";
import { type Placed, type Placer, byTopic } from "./placing.ts";
import type { Shard } from "./shard.ts";

/** Records of one transaction, about: kafkajs groups those of a partition in quadratic time. */
const recordsPerTransaction = 1_000;
const closeGraceMs = 1_000;

export interface TransactionsContext {
  readonly client: KafkaClient;
  readonly placer: Placer;
  readonly groupId: string;
  /** The windows have moved on. */
  stored(): void;
  failed(error: DriverError): void;
}

interface Waiting {
  readonly shard: Shard;
  readonly unit: Unit;
  readonly placed: readonly Placed[];
  readonly answer: (result: CommitResult) => void;
}

/** What one partition has for its transactions. */
interface Line {
  readonly client: TransactionClient;
  readonly closing: AbortController;
  /** By the last of its deliveries. */
  readonly waiting: Map<Delivery, Waiting>;
  tail: Promise<void>;
  busy: boolean;
  /** The position of its last transaction. */
  stored: number;
  /** From this one on nothing is committed any more: core will not finish it. */
  released: Delivery | undefined;
}

/**
 * Consume, process, produce: sends and positions of a partition in one transaction. Each partition has a producer of its own, whose
 * transactional id is the partition's: the next holder's fences it, and ends what it had begun. n.b. the client's commits in a
 * transaction carry no generation, so nothing else keeps a member out that does not know yet that it has lost the partition.
 */
export class Transactions {
  readonly #context: TransactionsContext;
  readonly #lines = new Map<string, Line>();
  #ended = false;
  #paused = false;
  #opening: Promise<unknown> = Promise.resolve();

  constructor(context: TransactionsContext) {
    this.#context = context;
  }

  /** Resolves when earlier holders are fenced: their positions are final, and may be read. `wanted`: whether that is still so. */
  async open(places: readonly (TopicPartition & { readonly id: string })[], wanted: () => boolean): Promise<void> {
    this.#opening = Promise.all(places.map((place) => this.#openOne(place, wanted)));
    await this.#opening;
  }

  async #openOne(
    { id, topic, partition }: TopicPartition & { readonly id: string },
    wanted: () => boolean,
  ): Promise<void> {
    this.#close(id);
    if (!wanted()) return;
    const client = await this.#context.client.transactions(`${this.#context.groupId}/${topic}/${partition}`);
    if (this.#ended) return client.dispose();
    const closing = new AbortController();
    const line = {
      client,
      closing,
      waiting: new Map(),
      tail: Promise.resolve(),
      busy: false,
      stored: 0,
      released: undefined,
    };
    this.#lines.set(id, line);
  }

  /**
   * Before a join. n.b. whoever opens a partition's producer fences all others, also one that opened it later: what is under way must
   * be over before somebody else can have the partition.
   */
  async pause(): Promise<void> {
    this.#paused = true;
    await Promise.allSettled([this.#opening, ...[...this.#lines.values()].map(({ tail }) => tail)]);
  }

  /** After a join: what is still ours goes on. */
  resume(ours: ReadonlySet<string>): void {
    this.#paused = false;
    this.#keep(ours);
    for (const line of this.#lines.values()) {
      const [first] = line.waiting.values();
      if (first) this.#pump(first.shard, line);
    }
  }

  #keep(ids: ReadonlySet<string>): void {
    for (const id of this.#lines.keys()) if (!ids.has(id)) this.#close(id);
  }

  end(): void {
    this.#ended = true;
    this.#keep(new Set());
  }

  /** Whether units of this partition wait, or are under way. */
  working(id: string): boolean {
    const line = this.#lines.get(id);
    return line !== undefined && (line.busy || line.waiting.size > 0);
  }

  #close(id: string): void {
    const line = this.#lines.get(id);
    if (!line) return;
    this.#lines.delete(id);
    line.closing.abort();
    for (const { answer } of line.waiting.values()) answer("lost");
    line.waiting.clear();
    // What is under way is given its time: a transaction that is cut off would hold up readers until somebody ends it.
    void line.tail.then(() => line.client.close(closeGraceMs));
  }

  /** Waits until everything older of the partition is committed, or in the same transaction. Never rejects. */
  async commit(shard: Shard, unit: Unit): Promise<CommitResult> {
    const line = this.#lines.get(shard.id);
    if (!line) return "lost";
    const places = await this.#context.placer.place(unit.send, line.closing.signal);
    const placed: Placed[] = [];
    for (const place of places) {
      if (place instanceof DriverError) return place;
      placed.push(place);
    }
    const last = unit.accept.at(-1);
    const ours = !line.closing.signal.aborted && unit.accept.every((delivery) => shard.out.has(delivery));
    if (!last || !ours || (line.released && shard.isBehind(last, line.released))) return "lost";
    const answered = new Promise<CommitResult>((answer) => line.waiting.set(last, { shard, unit, placed, answer }));
    this.#pump(shard, line);
    return answered;
  }

  /** Core will not finish this one: what waits behind it cannot be committed here any more. */
  release(shard: Shard, delivery: Delivery): void {
    const line = this.#lines.get(shard.id);
    if (!line) return;
    if (!line.released || shard.isBehind(line.released, delivery)) line.released = delivery;
    for (const [last, { answer }] of line.waiting) {
      if (!shard.isBehind(last, delivery)) continue;
      line.waiting.delete(last);
      answer("lost");
    }
  }

  /** Positions without records: start marks, and the last word before leaving. */
  async offsets(positions: readonly (CommitPosition & { readonly id: string })[]): Promise<void> {
    await Promise.all(
      positions.map(({ id, ...position }) => {
        const line = this.#lines.get(id);
        if (!line) throw new DriverError("LOST", `kafka: "${position.topic}": the partition is not ours any more`);
        return this.#inTurn(line, async () => {
          // n.b. While this waited for its turn a transaction may have gone further: going back would make a crash repeat it.
          if (position.offset < line.stored) return;
          await line.client.commit([], this.#context.groupId, [position], () => {});
        });
      }),
    );
  }

  /** One transaction at a time in a partition; the next takes everything that became ready meanwhile. */
  #pump(shard: Shard, line: Line): void {
    if (line.busy || this.#paused) return;
    const batch = readyOf(shard, line);
    if (batch.length === 0) return;
    line.busy = true;
    void this.#run(shard, line, batch).finally(() => {
      line.busy = false;
      if (!line.closing.signal.aborted) this.#pump(shard, line);
    });
  }

  async #run(shard: Shard, line: Line, batch: readonly Waiting[]): Promise<void> {
    const { placer, groupId } = this.#context;
    let ending = false;
    try {
      await this.#inTurn(line, async () => {
        for (const { unit } of batch) for (const delivery of unit.accept) shard.accept(delivery);
        const position = shard.commitPosition(false);
        shard.dirty = false;
        const rounds = placer.rounds(batch.flatMap(({ placed }) => placed)).map(byTopic);
        const { topic, partition, offset, metadata } = position;
        await line.client.commit(rounds, groupId, [{ topic, partition, offset, metadata }], () => (ending = true));
        line.stored = offset;
        shard.stored(position);
      });
      for (const { answer } of batch) answer("durable");
      this.#context.stored();
    } catch (error) {
      // Nothing of it happened, unless the request that decides had gone out: then nobody can tell.
      for (const { answer } of batch) answer(ending ? "unknown" : "lost");
      line.client.dispose();
      if (line.closing.signal.aborted) return;
      this.#context.failed(
        toDriverError(error, `the transaction of "${shard.topic}" partition ${shard.partition} failed`),
      );
    }
  }

  #inTurn(line: Line, work: () => Promise<void>): Promise<void> {
    const done = line.tail.then(work);
    line.tail = done.catch(() => {}); // whoever called has the reason
    return done;
  }
}

/** Units whose records are the oldest unfinished ones of the partition; all records of a unit are among them. */
function readyOf(shard: Shard, line: Line): readonly Waiting[] {
  const settled = new Set([...line.waiting.values()].flatMap(({ unit }) => unit.accept));
  const batch: Waiting[] = [];
  let records = 0;
  for (const delivery of shard.prefix((one) => settled.has(one))) {
    const waiting = line.waiting.get(delivery);
    if (!waiting) continue;
    if (batch.length > 0 && records + waiting.placed.length > recordsPerTransaction) break;
    records += waiting.placed.length;
    line.waiting.delete(delivery);
    batch.push(waiting);
  }
  return batch;
}
