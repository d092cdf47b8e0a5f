import type { DriverEvent, ReceiverOptions, Runtime } from "@sluice/core/driver";
import type { ConsumedBatch, ConsumerClient } from "./client.ts";
import { leavesAt } from "./delays.ts";
import type { Names } from "./names.ts";
import { dueOf } from "./record.ts";
import { type Load, Shard } from "./shard.ts";
import type { Shards } from "./shards.ts";

/** Records read ahead of one partition, whatever the window: fewer would leave it idle for a fetch wait at every refill. */
const readAhead = 4_096;

/** Why reading is off: `open` = it is not, `doubtful` = we may have lost the partitions and not know it yet. */
type IntakeState = "open" | "doubtful" | "closed";

export interface IntakeContext {
  readonly shards: Shards;
  readonly load: Load;
  readonly names: Names;
  readonly options: ReceiverOptions;
  readonly runtime: Runtime;
  idOf(topic: string, partition: number): string;
  state(): IntakeState;
  report(event: DriverEvent): void;
  /** A partition begins anew at another place; what runs of the old one is lost. */
  replaced(old: Shard): void;
  /** Something has to be committed although nothing was finished. */
  dirty(): void;
  /** The position moved although nothing was finished: over control records, or aborted ones. */
  moved(): void;
}

/** From batches to partitions: reading ahead within bounds, and what to do with batches that come at the wrong time. */
export class Intake {
  readonly #context: IntakeContext;
  readonly #client: ConsumerClient;
  #doubtful: ConsumedBatch[] = [];

  constructor(client: ConsumerClient, context: IntakeContext) {
    this.#client = client;
    this.#context = context;
  }

  batch(batch: ConsumedBatch): void {
    const state = this.#context.state();
    if (state === "open") this.#apply(batch);
    // n.b. after a stall a fetch answer of lost partitions arrives before the news that they are lost. Not to be dropped: after a short
    // stall it is valid, and does not come again.
    else if (state === "doubtful") this.#doubtful.push(batch);
  }

  /** We are still a member: what was doubtful counts. */
  confirmed(): void {
    const batches = this.#doubtful;
    this.#doubtful = [];
    for (const batch of batches) this.batch(batch);
  }

  /** A new assignment: what was doubtful belongs to the old one, and comes again if it is ours. */
  forget(): void {
    this.#doubtful = [];
  }

  outOfRange(topic: string, partition: number): void {
    const shard = this.#context.shards.get(this.#context.idOf(topic, partition));
    if (shard) shard.moved = true;
  }

  /** Goes on reading behind what was read. n.b. kafkajs would begin at the committed offset again, and keeps old pauses. */
  resume(shard: Shard): void {
    this.#client.seek(shard.topic, shard.partition, shard.next);
    this.#client.pause(shard.topic, shard.partition);
    shard.paused = true;
    this.flow(shard);
  }

  /** Tells the client to fetch or not: enough read ahead stops it, half of that starts it again. */
  flow(shard: Shard): void {
    const { window, windowBytes } = this.#context.options;
    const total = this.#context.load.bytes;
    const ahead = window === 1 ? 1 : Math.max(readAhead, window);
    const full = shard.waiting >= ahead || (total >= windowBytes && shard.waiting > 0);
    const low = shard.waiting <= ahead / 2 && (total <= windowBytes / 2 || shard.waiting === 0);
    const off = this.#context.state() === "closed" || shard.held || shard.next >= shard.until;
    if (!shard.paused && (off || full)) this.#client.pause(shard.topic, shard.partition);
    else if (shard.paused && !off && low) this.#client.resume(shard.topic, shard.partition);
    else return;
    shard.paused = !shard.paused;
  }

  #apply(batch: ConsumedBatch): void {
    const { shards, names } = this.#context;
    const found = shards.get(this.#context.idOf(batch.topic, batch.partition));
    if (!found?.ready) return;
    const shard = found.moved ? this.#moved(found, Number(batch.records[0]?.offset ?? batch.next)) : found;
    const tierMs = "delayed" in shard.source ? names.tierMs(batch.topic) : undefined;
    for (const record of batch.records) {
      shard.add(record, tierMs === undefined ? 0 : leavesAt(tierMs, Number(record.timestamp), dueOf(record)));
    }
    if (shard.waiting > 0) shards.hot.add(shard.topic);
    shard.reach(Number(batch.next));
    if (shard.position > shard.committed && shard.out.size === 0) this.#context.moved();
    this.flow(shard);
  }

  /** The log begins elsewhere: later (retention deleted what we had not read), or earlier (the topic was made anew). */
  #moved(shard: Shard, first: number): Shard {
    const { options, runtime, shards, load } = this.#context;
    const { source } = shard;
    const place = `"${shard.topic}" partition ${shard.partition}`;
    shard.moved = false;
    // n.b. kafkajs has overwritten the committed offset with "earliest".
    shard.dirty = true;
    if (first >= shard.next) {
      const count = first - shard.next;
      const detail = `kafka: ${place}: ${count} records were deleted by retention before they were read`;
      this.#context.report({ kind: "data-loss", source, count, detail });
      this.#context.dirty();
      return shard;
    }
    const detail = `kafka: ${place} begins again at offset ${first}, before ${shard.next}; reading from there`;
    this.#context.report({ kind: "recreated", source, detail });
    const begin = { position: first, starts: [], finished: [], epoch: Math.floor(runtime.wallMs()), born: 0 };
    const anew = new Shard(shard, begin, { window: options.window, counted: shard.counted, load });
    anew.ready = true;
    anew.held = shard.held;
    anew.paused = shard.paused;
    shards.set(anew);
    this.#context.replaced(shard);
    this.#context.dirty();
    return anew;
  }
}
