import { type Delivery, DriverError, type DriverEvent, type LostReason, type ReceiverOptions, type Runtime, type Source } from "@sluice/core/driver";
import type { AdminClient, ConsumedBatch, ConsumerClient, KafkaClient } from "./client.ts";
import { CommitLoop, type CommitTarget } from "./commits.ts";
import { leavesAt } from "./delays.ts";
import { toDriverError } from "./errors.ts";
import { groupIdOf, tierMsOf, topicsOf } from "./names.ts";
import type { KafkaConfig } from "./options.ts";
import { dueOf } from "./record.ts";
import { Shard } from "./shard.ts";
import { StartPositions, endsOf } from "./starts.ts";
import { unlessAborted } from "./waiting.ts";

export interface MemberContext {
  readonly client: KafkaClient;
  readonly config: KafkaConfig;
  readonly runtime: Runtime;
  /** Where broadcast instances stopped, by `topic/partition`; kept until an orderly close. */
  readonly remembered: Map<string, number>;
  report(event: DriverEvent): void;
}

export interface MemberHooks {
  /** Something may be handed out now. */
  changed(): void;
  failed(error: DriverError): void;
}

/** Time to leave the group, also when nobody waits any more: without a good-bye the others wait for a session. */
const leaveMs = 1_000;
/** How long a rebalance waits for records that run, at most: the whole group waits with us. */
const handOverMs = 2_000;
/** Records read ahead of one partition, whatever the window: fewer would leave it idle for a fetch wait at every refill. */
const readAhead = 4_096;

/** Our membership in one Kafka group: the assignment and its epochs, reading ahead, start positions, commits. */
export class Member {
  readonly source: Source;
  readonly topics: readonly string[];
  readonly #context: MemberContext;
  readonly #options: ReceiverOptions;
  readonly #hooks: MemberHooks;
  readonly #groupId: string;
  readonly #suffix: string;
  readonly #client: ConsumerClient;
  readonly #commits: CommitLoop;
  readonly #shards = new Map<string, Shard>();
  readonly #starts: StartPositions;
  readonly #until: ReadonlyMap<string, ReadonlyMap<number, { readonly high: number }>> | undefined;
  readonly #live = Promise.withResolvers<void>();
  /** Batches that came while the last proof of membership was old. */
  #doubtful: ConsumedBatch[] = [];
  #handOver: Promise<void> | undefined;
  #handOverEnds: () => void = () => {};
  #epoch = 0;
  #joining = true;
  #stopped = false;
  #ended = false;
  #beat: number;
  #cancelWatch: (() => void) | undefined;

  private constructor(
    source: Source,
    suffix: string,
    options: ReceiverOptions,
    context: MemberContext,
    hooks: MemberHooks,
    opening: Awaited<ReturnType<typeof endsOf>>,
  ) {
    const { client, config, runtime } = context;
    this.source = source;
    this.topics = topicsOf(source, config.namespace);
    this.#suffix = suffix;
    this.#context = context;
    this.#options = options;
    this.#hooks = hooks;
    this.#groupId = groupIdOf(source, config.namespace);
    this.#until = "deadLetter" in source && source.deadLetter ? opening : undefined;
    this.#beat = runtime.monotonicMs();
    this.#starts = new StartPositions({ admin: client.admin, runtime, source, groupId: this.#groupId, opening, remembered: context.remembered, report: context.report });
    this.#commits = new CommitLoop(this.#commitTarget(), runtime, options.window);
    this.#client = client.consumer({ groupId: this.#groupId, topics: this.topics }, {
      rebalancing: () => this.#announced(),
      beforeJoin: () => this.#beforeJoin(),
      joined: (assignment, continued) => this.#joined(assignment, continued),
      heartbeat: () => this.#alive(),
      batch: (batch) => this.#batch(batch),
      outOfRange: (topic, partition) => this.#outOfRange(topic, partition),
      crashed: (error) => this.fail(toDriverError(error, `group "${this.#groupId}" lost its consumer`)),
    });
  }

  /** Joins; resolves when every partition it got has its position fixed. */
  static async open(source: Source, suffix: string, options: ReceiverOptions, context: MemberContext, hooks: MemberHooks): Promise<Member> {
    const topics = topicsOf(source, context.config.namespace);
    await requireTopics(context.client.admin, topics);
    const member = new Member(source, suffix, options, context, hooks, await endsOf(context.client.admin, topics));
    try {
      await Promise.all([member.#client.join(), member.#live.promise]);
    } catch (error) {
      await member.abandon();
      throw toDriverError(error, `cannot join group "${member.#groupId}"`);
    }
    member.#watch();
    return member;
  }

  get shards(): Iterable<Shard> {
    return this.#shards.values();
  }

  shard(id: string): Shard | undefined {
    return this.#shards.get(id);
  }

  /** A finite source has handed out everything. */
  get exhausted(): boolean {
    return this.#until !== undefined && !this.#joining && [...this.#shards.values()].every(({ exhausted }) => exhausted);
  }

  /** Whether the broker has lately told us that we are a member, and no join is under way. */
  get mayHandOut(): boolean {
    return !this.#joining && !this.#stopped && !this.#ended && this.#sure;
  }

  take(shard: Shard, now: number): Delivery | undefined {
    const delivery = shard.take(now);
    if (delivery) this.#flow(shard);
    else if (shard.needsCommit) this.#commits.request();
    return delivery;
  }

  accept(delivery: Delivery): boolean {
    const accepted = !this.#ended && (this.#shards.get(delivery.shard)?.accept(delivery) ?? false);
    if (accepted) {
      this.#commits.accepted();
      this.#settled();
    }
    return accepted;
  }

  hold(id: string, on: boolean): void {
    const shard = this.#shards.get(id);
    if (!shard) return;
    shard.held = on;
    this.#flow(shard);
    if (!on) this.#hooks.changed();
  }

  async flush(): Promise<void> {
    await this.#commits.run();
  }

  /** No more intake; what core never saw is forgotten here and stays uncommitted there. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#doubtful = [];
    for (const shard of this.#shards.values()) {
      shard.dropWaiting();
      this.#flow(shard);
    }
  }

  /** Commits without start marks, and leaves the group. */
  async close(signal: AbortSignal): Promise<void> {
    this.stop();
    if (!this.#ended) {
      // Not stored: then the records come again, which is all that at-least-once promises here.
      await unlessAborted(this.#commits.run(), signal, "close").catch(() => {});
      this.#context.remembered.clear();
    }
    this.#end();
    await this.#client.close(leaveMs);
  }

  /** Leaves the group without a commit. */
  async abandon(): Promise<void> {
    this.#end();
    await this.#client.close(leaveMs);
  }

  fail(error: DriverError): void {
    if (this.#ended) return;
    this.#live.reject(error);
    const lost = this.#outstanding([...this.#shards.values()]);
    this.#end();
    this.#lose(lost, "disconnected");
    this.#hooks.failed(error);
  }

  get #sure(): boolean {
    return this.#context.runtime.monotonicMs() - this.#beat <= this.#context.config.sessionTimeout / 2;
  }

  #end(): void {
    this.#ended = true;
    this.#handOverEnds();
    this.#commits.stop();
    this.#cancelWatch?.();
    this.#live.promise.catch(() => {}); // nobody may be waiting for it any more
    this.#live.reject(new DriverError("LOST", `kafka: group "${this.#groupId}": the receiver was closed`));
  }

  // ── membership ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Until we rejoin, commits of the old generation are taken: what runs may end, so that the next holder does not run it again. */
  #announced(): void {
    this.#joining = true;
    const { runtime, config } = this.#context;
    const patience = Math.min(handOverMs, config.sessionTimeout / 3);
    this.#handOver = new Promise((resolve) => {
      const cancel = runtime.timer(patience, resolve);
      this.#handOverEnds = () => {
        cancel();
        resolve();
      };
    });
    this.#settled();
  }

  async #beforeJoin(): Promise<void> {
    this.#joining = true;
    await this.#handOver;
    this.#handOver = undefined;
    if (this.#ended || this.#shards.size === 0) return;
    await this.#commits.run().catch(() => {}); // too late is no harm: the records come again
  }

  /** While a rebalance waits for what runs: nothing runs any more. */
  #settled(): void {
    if (this.#joining && [...this.#shards.values()].every(({ out }) => out.size === 0)) this.#handOverEnds();
  }

  #joined(assignment: ReadonlyMap<string, readonly number[]>, continued: boolean): void {
    if (this.#ended) return;
    this.#epoch += 1;
    this.#beat = this.#context.runtime.monotonicMs();
    this.#joining = false;
    // n.b. after a stall a fetch answer of partitions that we have lost arrives before this event.
    this.#doubtful = [];
    const places = [...assignment].flatMap(([topic, ids]) => ids.map((partition) => ({ topic, partition, id: this.#idOf(topic, partition) })));
    const assigned = new Set(places.map(({ id }) => id));
    // After an expulsion others have had them meanwhile, also those that come back.
    const gone = [...this.#shards.values()].filter(({ id }) => !continued || !assigned.has(id));
    const lost = this.#outstanding(gone);
    for (const { id } of gone) this.#shards.delete(id);
    const fresh = places.filter(({ id }) => !this.#shards.get(id)?.ready);
    // n.b. kafkajs keeps pauses and seeks of partitions that come back: every one is set anew.
    for (const { topic, partition } of fresh) this.#client.pause(topic, partition);
    for (const shard of this.#shards.values()) this.#resume(shard);
    this.#lose(lost, "revoked");
    this.#begin(fresh, this.#epoch).catch((error: unknown) => {
      if (this.#epochIs(this.#epoch)) this.fail(toDriverError(error, `group "${this.#groupId}" cannot fix its positions`));
    });
  }

  async #begin(places: readonly { readonly id: string; readonly topic: string; readonly partition: number }[], epoch: number): Promise<void> {
    const begins = await this.#starts.of(places);
    if (!this.#epochIs(epoch)) return;
    const { window } = this.#options;
    for (const [index, place] of places.entries()) {
      const begin = begins[index];
      if (!begin) continue;
      const until = this.#until ? (this.#until.get(place.topic)?.get(place.partition)?.high ?? 0) : Number.POSITIVE_INFINITY;
      const shard = new Shard({ ...place, source: this.source, until }, begin, { window, counted: !("broadcast" in this.source) });
      this.#shards.set(place.id, shard);
      this.#client.seek(shard.topic, shard.partition, shard.next);
    }
    // The start mark and the fence are stored before the first record is handed out.
    await this.#storeBegin(epoch);
    if (!this.#epochIs(epoch)) return;
    for (const { id } of places) {
      const shard = this.#shards.get(id);
      if (!shard) continue;
      shard.ready = true;
      shard.paused = true;
      if (shard.next >= shard.until) shard.reach(shard.until);
      this.#flow(shard);
    }
    this.#live.resolve();
    this.#hooks.changed();
  }

  async #storeBegin(epoch: number): Promise<void> {
    try {
      await this.#commits.run();
    } catch (error) {
      if (toDriverError(error, "").code === "LOST" || !this.#epochIs(epoch)) return void (this.#joining = true); // the next join begins again
      throw error;
    }
  }

  #epochIs(epoch: number): boolean {
    return !this.#ended && this.#epoch === epoch;
  }

  /** A kept partition goes on behind what was read; kafkajs would begin at the committed offset again. */
  #resume(shard: Shard): void {
    if (!shard.ready) return;
    this.#client.seek(shard.topic, shard.partition, shard.next);
    shard.dirty = true;
    shard.paused = true;
    this.#flow(shard);
    this.#commits.request();
  }

  #alive(): void {
    this.#beat = this.#context.runtime.monotonicMs();
    const batches = this.#doubtful;
    this.#doubtful = [];
    for (const batch of batches) this.#apply(batch);
    this.#hooks.changed();
  }

  /** A peer that vanished without a word leaves kafkajs waiting for minutes; the broker has given our partitions away by then. */
  #watch(): void {
    const { runtime, config } = this.#context;
    const patience = this.#joining ? config.rebalanceTimeout + config.sessionTimeout : config.sessionTimeout;
    if (runtime.monotonicMs() - this.#beat > 2 * patience) {
      return this.fail(new DriverError("UNAVAILABLE", `kafka: group "${this.#groupId}": no heartbeat was answered for ${2 * patience} ms`));
    }
    this.#cancelWatch = runtime.timer(config.sessionTimeout / 2, () => this.#watch(), { background: true });
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #batch(batch: ConsumedBatch): void {
    if (this.#ended || this.#stopped) return;
    if (this.#sure) this.#apply(batch);
    else this.#doubtful.push(batch);
  }

  #apply(batch: ConsumedBatch): void {
    const shard = this.#shards.get(this.#idOf(batch.topic, batch.partition));
    if (!shard?.ready || this.#ended || this.#stopped) return;
    const target = shard.moved ? this.#moved(shard, Number(batch.records[0]?.offset ?? batch.next)) : shard;
    const tierMs = "delayed" in this.source ? tierMsOf(this.#context.config.namespace, batch.topic) : undefined;
    for (const record of batch.records) {
      const due = tierMs === undefined ? 0 : leavesAt(tierMs, Number(record.timestamp), dueOf(record));
      target.add(record, due);
    }
    target.reach(Number(batch.next));
    this.#flow(target);
    this.#hooks.changed();
  }

  #outOfRange(topic: string, partition: number): void {
    const shard = this.#shards.get(this.#idOf(topic, partition));
    if (shard) shard.moved = true;
  }

  /** The log begins elsewhere: later (retention deleted what we had not read), or earlier (the topic was made anew). */
  #moved(shard: Shard, first: number): Shard {
    shard.moved = false;
    // n.b. kafkajs has overwritten the committed offset with "earliest".
    shard.dirty = true;
    const place = `"${shard.topic}" partition ${shard.partition}`;
    if (first >= shard.next) {
      const count = first - shard.next;
      this.#context.report({ kind: "data-loss", source: this.source, count, detail: `kafka: ${place}: ${count} records were deleted by retention before they were read` });
      this.#commits.request();
      return shard;
    }
    this.#context.report({ kind: "recreated", source: this.source, detail: `kafka: ${place} begins again at offset ${first}, behind ${shard.next}; reading from there` });
    const lost = this.#outstanding([shard]);
    const begin = { position: first, starts: [], epoch: Math.floor(this.#context.runtime.wallMs()), born: 0 };
    const anew = new Shard(shard, begin, { window: this.#options.window, counted: !("broadcast" in this.source) });
    anew.ready = true;
    anew.held = shard.held;
    this.#shards.set(shard.id, anew);
    this.#lose(lost, "revoked");
    this.#commits.request();
    return anew;
  }

  /** Tells the client to fetch or not: enough read ahead stops it, half of that starts it again. */
  #flow(shard: Shard): void {
    const total = [...this.#shards.values()].reduce((sum, { waitingBytes }) => sum + waitingBytes, 0);
    const bound = this.#options.windowBytes;
    const ahead = this.#options.window === 1 ? 1 : Math.max(readAhead, this.#options.window);
    const full = shard.waiting >= ahead || (total >= bound && shard.waiting > 0);
    const low = shard.waiting <= ahead / 2 && (total <= bound / 2 || shard.waiting === 0);
    const off = this.#stopped || shard.held || shard.next >= shard.until;
    if (!shard.paused && (off || full)) this.#pause(shard, true);
    else if (shard.paused && !off && low && shard.ready) this.#pause(shard, false);
  }

  #pause(shard: Shard, on: boolean): void {
    shard.paused = on;
    if (on) this.#client.pause(shard.topic, shard.partition);
    else this.#client.resume(shard.topic, shard.partition);
  }

  // ── settling ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #commitTarget(): CommitTarget {
    const idle = (): boolean => this.#joining || this.#stopped;
    return {
      get clean() {
        return idle();
      },
      shards: () => this.#shards.values(),
      commit: (positions) => this.#commit(positions),
      stored: () => this.#hooks.changed(),
      failed: (error) => this.#commitFailed(error),
    };
  }

  async #commit(positions: Parameters<ConsumerClient["commit"]>[0]): Promise<void> {
    if ("broadcast" in this.source) {
      for (const { topic, partition, offset } of positions) this.#context.remembered.set(`${topic}/${partition}`, offset);
      return;
    }
    if (this.#ended) throw new DriverError("LOST", `kafka: group "${this.#groupId}": the receiver was closed`);
    await this.#client.commit(positions);
  }

  #commitFailed(error: unknown): void {
    const failure = toDriverError(error, `group "${this.#groupId}" cannot commit`);
    // Lost: the next join decides who goes on, and where.
    if (failure.code !== "LOST") this.fail(failure);
  }

  #outstanding(shards: readonly Shard[]): readonly Delivery[] {
    return shards.flatMap(({ out }) => [...out.keys()]);
  }

  #lose(deliveries: readonly Delivery[], reason: LostReason): void {
    if (deliveries.length > 0) this.#options.lost(deliveries, reason);
  }

  #idOf(topic: string, partition: number): string {
    return `${topic}/${partition}${this.#suffix}`;
  }
}

async function requireTopics(admin: AdminClient, topics: readonly string[]): Promise<void> {
  for (const topic of topics) {
    if ((await admin.partitions(topic)) !== undefined) continue;
    throw new DriverError("NOT_FOUND", `kafka: topic "${topic}" does not exist; create it, or connect with provision: 'create'`);
  }
}
