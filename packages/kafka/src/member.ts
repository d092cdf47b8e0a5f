import { type CommitResult, type Delivery, DriverError, type ReceiverOptions, type Unit } from "@sluice/core/driver";
import { Assignment, lose, outstanding } from "./assignment.ts";
import type { CommitPosition, ConsumerClient, Ends } from "./client.ts";
import { CommitLoop, type CommitTarget } from "./commits.ts";
import { toDriverError } from "./errors.ts";
import { Intake } from "./intake.ts";
import { Membership } from "./membership.ts";
import { groupOf, type MemberContext, type MemberHooks, type Membering } from "./membering.ts";
import type { Load, Shard } from "./shard.ts";
import { Shards } from "./shards.ts";
import { Transactions } from "./transactions.ts";
import { StartPositions, endsAtOpening } from "./starts.ts";
import { unlessAborted, within } from "./waiting.ts";

/** Time to leave the group, also when nobody waits any more: without a good-bye the others wait for a session. */
const leaveMs = 1_000;

/** Our membership in one Kafka group: the assignment and its epochs, start positions, hand-over. */
export class Member {
  readonly shards: Shards = new Shards();
  readonly #context: MemberContext;
  readonly #reads: Membering;
  readonly #options: ReceiverOptions;
  readonly #hooks: MemberHooks;
  readonly #client: ConsumerClient;
  readonly #commits: CommitLoop;
  readonly #transactions: Transactions | undefined;
  readonly #intake: Intake;
  readonly #assignment: Assignment;
  /** Where a finite source ends. */
  readonly #ends: Ends | undefined;
  /** Positions in memory instead of commits. */
  readonly #remembered: Map<string, number> | undefined;
  readonly #live = Promise.withResolvers<void>();
  readonly #membership: Membership;
  #stopped = false;
  #ended = false;

  private constructor(
    reads: Membering,
    options: ReceiverOptions,
    context: MemberContext,
    hooks: MemberHooks,
    opening: Ends,
  ) {
    const [first] = reads.topics.values();
    this.#reads = reads;
    this.#context = context;
    this.#options = options;
    this.#hooks = hooks;
    this.#ends = first && "deadLetter" in first.source && first.source.deadLetter ? opening : undefined;
    this.#remembered = first && "broadcast" in first.source ? context.remembered(first.source) : undefined;
    this.#membership = new Membership(context.runtime, context.config, (error) => this.fail(error));
    this.#commits = new CommitLoop(this.#commitTarget(), context.runtime);
    this.#transactions = options.transactional ? this.#newTransactions() : undefined;
    this.#client = this.#consumer();
    const load: Load = { bytes: 0 };
    this.#intake = this.#newIntake(load);
    this.#assignment = this.#newAssignment(load, opening);
  }

  /** Joins; resolves when every partition it got has its position fixed. */
  static async open(
    reads: Membering,
    options: ReceiverOptions,
    context: MemberContext,
    hooks: MemberHooks,
  ): Promise<Member> {
    const opening = await endsAtOpening(context.client.admin, reads.topics.values());
    const member = new Member(reads, options, context, hooks, opening);
    try {
      await Promise.all([member.#client.join(), member.#live.promise]);
    } catch (error) {
      await member.abandon();
      throw toDriverError(error, `cannot join ${groupOf(reads)}`);
    }
    member.#membership.watch();
    return member;
  }

  /** A finite source has handed out everything. */
  get exhausted(): boolean {
    return (
      this.#ends !== undefined &&
      !this.#membership.joining &&
      [...this.shards.values()].every(({ exhausted }) => exhausted)
    );
  }

  /** Whether the broker has lately told us that we are a member, and no join is under way. */
  get mayHandOut(): boolean {
    return !this.#membership.joining && !this.#stopped && !this.#ended && this.#membership.sure;
  }

  take(shard: Shard, now: number): Delivery | undefined {
    if (this.#options.window === 1 && !this.#probes(shard, now)) return undefined;
    const delivery = shard.take(now);
    if (delivery) {
      // Taking can only start what was paused.
      if (shard.paused) this.#intake.flow(shard);
    } else if (shard.needsCommit && !this.#transactions?.working(shard.id)) this.#commits.request();
    return delivery;
  }

  accept(delivery: Delivery): boolean {
    const shard = this.#ended ? undefined : this.shards.get(delivery.shard);
    if (!shard?.accept(delivery)) return false;
    this.#commits.accepted(shard);
    if (this.#membership.joining) this.#settled();
    return true;
  }

  /** `undefined`: the records of this unit are not of this member. */
  commit(unit: Unit): Promise<CommitResult> | undefined {
    const [first] = unit.accept;
    const shard = first && !this.#ended ? this.shards.get(first.shard) : undefined;
    return shard && this.#transactions?.commit(shard, unit);
  }

  /** Core will not finish it: nothing behind it can be committed here, so nothing more of its partition is handed out. */
  release(delivery: Delivery): boolean {
    const shard = this.#ended ? undefined : this.shards.get(delivery.shard);
    if (!shard?.out.has(delivery)) return false;
    this.#transactions?.release(shard, delivery);
    this.hold(shard.id, true);
    return true;
  }

  hold(id: string, on: boolean): void {
    const shard = this.shards.get(id);
    if (!shard) return;
    shard.held = on;
    this.#intake.flow(shard);
    if (!on) this.#hooks.changed();
  }

  flush(): Promise<void> {
    return this.#commits.run();
  }

  /** No more intake; what core never saw is forgotten here and stays uncommitted there. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#intake.forget();
    for (const shard of this.shards.values()) {
      shard.dropWaiting();
      this.#intake.flow(shard);
    }
  }

  /** Commits without start marks, and leaves the group. */
  async close(signal: AbortSignal): Promise<void> {
    this.stop();
    if (!this.#ended) {
      // Not stored: then the records come again, which is all that at-least-once promises here.
      await unlessAborted(this.#commits.run(), signal, "close").catch(() => {});
      this.#remembered?.clear();
    }
    await this.abandon();
  }

  /** Leaves the group without a commit. */
  async abandon(): Promise<void> {
    this.#end();
    await this.#client.close(leaveMs);
  }

  fail(error: DriverError): void {
    if (this.#ended) return;
    this.#live.reject(error);
    const lost = outstanding(this.shards.values());
    this.#end();
    lose(this.#options, lost, "disconnected");
    this.#hooks.failed(error);
  }

  /** Whether this partition may be the one that is tried alone: marks on others would count a crash against innocents. */
  #probes(shard: Shard, now: number): boolean {
    const { probe } = this.#hooks;
    const busy = probe !== undefined && probe !== shard && (probe.out.size > 0 || (probe.wanted && !probe.held));
    if (busy || shard.out.size > 0 || !shard.want(now)) return false;
    this.#hooks.probe = shard;
    return true;
  }

  #end(): void {
    this.#ended = true;
    this.#transactions?.end();
    this.#membership.epoch += 1; // whatever is under way is for nothing
    this.#membership.end();
    this.#commits.stop();
    this.#live.promise.catch(() => {}); // nobody may be waiting for it any more
    this.#live.reject(new DriverError("LOST", `kafka: group "${this.#reads.groupId}": the receiver was closed`));
  }

  // ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #newTransactions(): Transactions {
    const { client, placer } = this.#context;
    return new Transactions({
      client,
      placer,
      groupId: this.#reads.groupId,
      stored: () => this.#stored(),
      failed: (error) => this.fail(error),
    });
  }

  #newIntake(load: Load): Intake {
    const { config, runtime } = this.#context;
    return new Intake(this.#client, {
      shards: this.shards,
      load,
      names: config.names,
      options: this.#options,
      runtime,
      report: (event) => this.#context.report(event),
      idOf: (topic, partition) => this.#idOf(topic, partition),
      state: () => (this.#ended || this.#stopped ? "closed" : this.#membership.sure ? "open" : "doubtful"),
      replaced: (shard) => this.#gone([shard]),
      dirty: () => this.#commits.request(),
      moved: () => this.#commits.later(),
    });
  }

  #newAssignment(load: Load, opening: Ends): Assignment {
    const { groupId, topics } = this.#reads;
    const { client, runtime, vanished } = this.#context;
    const { admin } = client;
    const broadcast = this.#remembered !== undefined;
    const remembered = this.#remembered ?? new Map<string, number>();
    return new Assignment({
      options: this.#options,
      shards: this.shards,
      load,
      client: this.#client,
      membership: this.#membership,
      intake: this.#intake,
      commits: this.#commits,
      transactions: this.#transactions,
      starts: new StartPositions({ admin, runtime, groupId, broadcast, topics, opening, remembered, vanished }),
      ends: this.#ends,
      idOf: (topic, partition) => this.#idOf(topic, partition),
      sourceOf: (topic) => topics.get(topic)?.source,
      gone: (shards) => this.#gone(shards),
    });
  }

  #idOf(topic: string, partition: number): string {
    return `${topic}/${partition}${this.#reads.suffix}`;
  }

  // ── membership ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #consumer(): ConsumerClient {
    const { groupId, topics, fetchWait } = this.#reads;
    return this.#context.client.consumer(
      { groupId, topics: [...topics.keys()], fetchWait },
      {
        rebalancing: () => {
          this.#membership.announced();
          this.#settled();
        },
        beforeJoin: () => this.#beforeJoin(),
        joined: (assignment, continued) => this.#joined(assignment, continued),
        heartbeat: () => this.#alive(),
        batch: (batch) => {
          this.#intake.batch(batch);
          this.#hooks.changed();
        },
        outOfRange: (topic, partition) => this.#intake.outOfRange(topic, partition),
        crashed: (error) => this.fail(toDriverError(error, `${groupOf(this.#reads)} lost its consumer`)),
      },
    );
  }

  async #beforeJoin(): Promise<void> {
    await this.#membership.handedOver();
    const { runtime, config } = this.#context;
    if (this.#transactions && !this.#ended)
      await within(runtime, config.sessionTimeout / 3, this.#transactions.pause());
    if (this.#ended || this.shards.size === 0) return;
    await this.#commits.run().catch(() => {}); // too late is no harm: the records come again
  }

  /** While a rebalance waits for what runs: nothing runs any more. */
  #settled(): void {
    if ([...this.shards.values()].every(({ out }) => out.size === 0)) this.#membership.settled();
  }

  #joined(assigned: ReadonlyMap<string, readonly number[]>, continued: boolean): void {
    if (this.#ended) return;
    const changed = this.#assignment.change(assigned, continued);
    const { epoch } = this.#membership;
    changed.then(
      (complete) => {
        if (!complete || this.#ended) return;
        this.#live.resolve();
        this.#hooks.changed();
      },
      (error: unknown) => {
        if (this.#membership.epoch !== epoch) return;
        this.fail(toDriverError(error, `${groupOf(this.#reads)} cannot fix its positions`));
      },
    );
  }

  #gone(shards: readonly Shard[]): void {
    if (this.#hooks.probe && shards.includes(this.#hooks.probe)) this.#hooks.probe = undefined;
    lose(this.#options, outstanding(shards), "revoked");
  }

  #alive(): void {
    this.#membership.alive();
    this.#intake.confirmed();
    this.#hooks.changed();
  }

  // ── settling ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #commitTarget(): CommitTarget {
    const idle = (): boolean => this.#membership.joining || this.#stopped;
    return {
      get clean() {
        return idle();
      },
      shards: () => this.shards.values(),
      commit: (positions) => this.#commit(positions),
      stored: () => this.#hooks.changed(),
      failed: (error) => {
        const failure = toDriverError(error, `${groupOf(this.#reads)} cannot commit`);
        // Lost: the next join decides who goes on, and where.
        if (failure.code !== "LOST") this.fail(failure);
      },
    };
  }

  /** A transaction is over. */
  #stored(): void {
    if (this.#ended) return;
    this.#commits.later();
    this.#hooks.changed();
    if (this.#membership.joining) this.#settled();
  }

  async #commit(positions: readonly (CommitPosition & { readonly id: string })[]): Promise<void> {
    if (this.#remembered) {
      for (const { topic, partition, offset } of positions) this.#remembered.set(`${topic}/${partition}`, offset);
      return;
    }
    if (this.#ended) throw new DriverError("LOST", `kafka: group "${this.#reads.groupId}": the receiver was closed`);
    await (this.#transactions?.offsets(positions) ?? this.#client.commit(positions));
  }
}
