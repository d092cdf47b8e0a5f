import {
  type Delivery,
  DriverError,
  type DriverEvent,
  type ReceiverOptions,
  type Runtime,
  type Source,
} from "@sluice/core/driver";
import { Assignment, lose, outstanding } from "./assignment.ts";
import type { AdminClient, CommitPosition, ConsumerClient, KafkaClient } from "./client.ts";
import { CommitLoop, type CommitTarget } from "./commits.ts";
import { toDriverError } from "./errors.ts";
import { Intake } from "./intake.ts";
import { groupIdOf, topicsOf } from "./names.ts";
import { Membership } from "./membership.ts";
import type { KafkaConfig } from "./options.ts";
import { Shard } from "./shard.ts";
import { type Ends, StartPositions, endsAtOpening } from "./starts.ts";
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
  /** In a probe (window 1): the partition whose head is marked as started, over all members of the receiver. */
  probe: Shard | undefined;
}

/** Time to leave the group, also when nobody waits any more: without a good-bye the others wait for a session. */
const leaveMs = 1_000;

/** Our membership in one Kafka group: the assignment and its epochs, start positions, hand-over. */
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
  readonly #intake: Intake;
  readonly #assignment: Assignment;
  readonly #shards = new Map<string, Shard>();
  /** Where a finite source ends. */
  readonly #ends: Ends | undefined;
  readonly #live = Promise.withResolvers<void>();
  readonly #membership: Membership;
  #stopped = false;
  #ended = false;

  private constructor(
    source: Source,
    suffix: string,
    options: ReceiverOptions,
    context: MemberContext,
    hooks: MemberHooks,
    opening: Ends,
  ) {
    const { client, config, runtime, remembered } = context;
    const { namespace } = config;
    this.source = source;
    this.topics = topicsOf(source, namespace);
    this.#suffix = suffix;
    this.#context = context;
    this.#options = options;
    this.#hooks = hooks;
    this.#groupId = groupIdOf(source, namespace);
    this.#ends = "deadLetter" in source && source.deadLetter ? opening : undefined;
    this.#membership = new Membership(runtime, config, (error) => this.fail(error));
    const report = (event: DriverEvent): void => context.report(event);
    this.#commits = new CommitLoop(this.#commitTarget(), runtime, options.window);
    this.#client = this.#consumer();
    this.#intake = new Intake(this.#client, {
      shards: this.#shards,
      source,
      namespace,
      options,
      runtime,
      report,
      idOf: (topic, partition) => this.#idOf(topic, partition),
      state: () => (this.#ended || this.#stopped ? "closed" : this.#membership.sure ? "open" : "doubtful"),
      replaced: (shard) => this.#gone([shard]),
      dirty: () => this.#commits.request(),
    });
    const { admin } = client;
    this.#assignment = new Assignment({
      source,
      options,
      shards: this.#shards,
      client: this.#client,
      membership: this.#membership,
      intake: this.#intake,
      commits: this.#commits,
      starts: new StartPositions({ admin, runtime, source, groupId: this.#groupId, opening, remembered }),
      ends: this.#ends,
      idOf: (topic, partition) => this.#idOf(topic, partition),
      gone: (shards) => this.#gone(shards),
    });
  }

  /** Joins; resolves when every partition it got has its position fixed. */
  static async open(
    source: Source,
    suffix: string,
    options: ReceiverOptions,
    context: MemberContext,
    hooks: MemberHooks,
  ): Promise<Member> {
    const { admin } = context.client;
    const topics = topicsOf(source, context.config.namespace);
    await requireTopics(admin, topics);
    const member = new Member(source, suffix, options, context, hooks, await endsAtOpening(admin, source, topics));
    try {
      await Promise.all([member.#client.join(), member.#live.promise]);
    } catch (error) {
      await member.abandon();
      throw toDriverError(error, `cannot join group "${member.#groupId}"`);
    }
    member.#membership.watch();
    return member;
  }

  get shards(): Iterable<Shard> {
    return this.#shards.values();
  }

  /** A finite source has handed out everything. */
  get exhausted(): boolean {
    return (
      this.#ends !== undefined &&
      !this.#membership.joining &&
      [...this.#shards.values()].every(({ exhausted }) => exhausted)
    );
  }

  /** Whether the broker has lately told us that we are a member, and no join is under way. */
  get mayHandOut(): boolean {
    return !this.#membership.joining && !this.#stopped && !this.#ended && this.#membership.sure;
  }

  take(shard: Shard, now: number): Delivery | undefined {
    if (this.#options.window === 1 && !this.#probes(shard, now)) return undefined;
    const delivery = shard.take(now);
    if (delivery) this.#intake.flow(shard);
    else if (shard.needsCommit) this.#commits.request();
    return delivery;
  }

  accept(delivery: Delivery): boolean {
    const accepted = !this.#ended && (this.#shards.get(delivery.shard)?.accept(delivery) ?? false);
    if (!accepted) return false;
    this.#commits.accepted();
    this.#settled();
    return true;
  }

  hold(id: string, on: boolean): void {
    const shard = this.#shards.get(id);
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
    for (const shard of this.#shards.values()) {
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
      this.#context.remembered.clear();
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
    const lost = outstanding(this.#shards.values());
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
    this.#membership.epoch += 1; // whatever is under way is for nothing
    this.#membership.end();
    this.#commits.stop();
    this.#live.promise.catch(() => {}); // nobody may be waiting for it any more
    this.#live.reject(new DriverError("LOST", `kafka: group "${this.#groupId}": the receiver was closed`));
  }

  // ── membership ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #consumer(): ConsumerClient {
    return this.#context.client.consumer(
      { groupId: this.#groupId, topics: this.topics },
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
        crashed: (error) => this.fail(toDriverError(error, `group "${this.#groupId}" lost its consumer`)),
      },
    );
  }

  async #beforeJoin(): Promise<void> {
    await this.#membership.handedOver();
    if (this.#ended || this.#shards.size === 0) return;
    await this.#commits.run().catch(() => {}); // too late is no harm: the records come again
  }

  /** While a rebalance waits for what runs: nothing runs any more. */
  #settled(): void {
    if ([...this.#shards.values()].every(({ out }) => out.size === 0)) this.#membership.settled();
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
        this.fail(toDriverError(error, `group "${this.#groupId}" cannot fix its positions`));
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
      shards: () => this.#shards.values(),
      commit: (positions) => this.#commit(positions),
      stored: () => this.#hooks.changed(),
      failed: (error) => this.#commitFailed(error),
    };
  }

  async #commit(positions: readonly CommitPosition[]): Promise<void> {
    if ("broadcast" in this.source) {
      for (const { topic, partition, offset } of positions)
        this.#context.remembered.set(`${topic}/${partition}`, offset);
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

  #idOf(topic: string, partition: number): string {
    return `${topic}/${partition}${this.#suffix}`;
  }
}

async function requireTopics(admin: AdminClient, topics: readonly string[]): Promise<void> {
  const topic = await admin.missing(topics);
  if (topic === undefined) return;
  throw new DriverError(
    "NOT_FOUND",
    `kafka: topic "${topic}" does not exist; create it, or connect with provision: 'create'`,
  );
}
