import {
  type CommitResult,
  type Delivery,
  DriverError,
  type Receiver,
  type ReceiverOptions,
  type SettleResult,
  type Settlement,
  type Source,
  type Unit,
} from "@sluice/core/driver";
import { Member } from "./member.ts";
import { type MemberContext, type MemberHooks, vanish } from "./membering.ts";
import { membersOf } from "./members.ts";
import type { TopicShards } from "./shards.ts";
import { unlessAborted } from "./waiting.ts";

/** A Kafka topic with records that wait. */
interface Feed {
  readonly member: Member;
  readonly of: TopicShards;
}

/** Several sources in one: their memberships, and a fair turn for each of their topics and partitions. */
export class KafkaReceiver implements Receiver {
  /** Nothing to prolong: a record is ours while we are a member, and heartbeats go out by themselves. */
  readonly lease: undefined = undefined;
  readonly closed: Promise<DriverError | undefined>;
  readonly #runtime: MemberContext["runtime"];
  readonly #members: readonly Member[];
  readonly #waiters = new Set<() => void>();
  #finish!: (reason: DriverError | undefined) => void; // set in the constructor, by the promise
  #turn = 0;
  #ended = false;
  #stopped = false;
  #closing: Promise<void> | undefined;
  #cancelDue: (() => void) | undefined;

  private constructor(members: readonly Member[], runtime: MemberContext["runtime"]) {
    this.#runtime = runtime;
    this.#members = members;
    this.closed = new Promise((resolve) => (this.#finish = resolve));
  }

  static async open(
    sources: readonly Source[],
    options: ReceiverOptions,
    context: MemberContext,
  ): Promise<KafkaReceiver> {
    let receiver: KafkaReceiver | undefined;
    const wanted = await membersOf(sources, context);
    const early: DriverError[] = [];
    const hooks: MemberHooks = {
      probe: undefined,
      changed: () => {
        if (receiver) receiver.#wake();
      },
      failed: (error: DriverError) => {
        if (error.code === "NOT_FOUND") for (const reads of wanted) vanish(reads, context);
        if (receiver) receiver.#fail(error);
        else early.push(error);
      },
    };
    const opened = await Promise.allSettled(wanted.map((reads) => Member.open(reads, options, context, hooks)));
    const members = opened.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const failure = early[0] ?? opened.find((result) => result.status === "rejected")?.reason;
    if (failure !== undefined) {
      await Promise.all(members.map((member) => member.abandon()));
      throw failure;
    }
    receiver = new KafkaReceiver(members, context.runtime);
    return receiver;
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[] | undefined> {
    const stopped = this.#stopped;
    for (;;) {
      const taken = this.#take(max);
      if (taken.length > 0 || signal.aborted) return taken;
      if (this.#ended) {
        // A caller that asks in a loop must not keep the event loop from everything else.
        await new Promise<void>((resolve) => this.#runtime.defer(resolve));
        return [];
      }
      if (this.#stopped && !stopped) return [];
      if (!stopped && this.#members.every(({ exhausted }) => exhausted)) return undefined;
      await this.#change(signal);
    }
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    return settlements.map((settlement) => {
      const { delivery, accept } = settlement;
      const known = this.#members.some((member) => (accept ? member.accept(delivery) : member.release(delivery)));
      return known ? "recorded" : "lost";
    });
  }

  commit(units: readonly Unit[]): Promise<readonly CommitResult[]> {
    return Promise.all(units.map((unit) => this.#commitOne(unit)));
  }

  async #commitOne(unit: Unit): Promise<CommitResult> {
    for (const member of this.#members) {
      const result = member.commit(unit);
      if (result) return result;
    }
    return "lost";
  }

  async flush(signal: AbortSignal): Promise<void> {
    await unlessAborted(Promise.all(this.#members.map((member) => member.flush())), signal, "flush");
  }

  hold(shards: readonly string[], on: boolean): void {
    for (const member of this.#members) for (const id of shards) member.hold(id, on);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const member of this.#members) member.stop();
    this.#wake();
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    await this.stop();
    await Promise.all(this.#members.map((member) => member.close(signal)));
    this.#end(undefined);
  }

  #fail(error: DriverError): void {
    if (this.#ended) return;
    this.#end(error);
    for (const member of this.#members) {
      member.fail(error);
      member.abandon().catch(() => {}); // it has failed already
    }
  }

  #end(reason: DriverError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelDue?.();
    this.#wake();
    this.#finish(reason);
  }

  /** One record per turn: topics take turns, and within a topic its partitions, so own entries and topics share evenly. */
  #take(max: number): readonly Delivery[] {
    const taken: Delivery[] = [];
    if (this.#ended || this.#stopped) return taken;
    const now = this.#runtime.wallMs();
    const feeds = this.#feeds();
    for (let idle = 0; taken.length < max && idle < feeds.length;) {
      const next = feeds[this.#turn++ % feeds.length];
      const delivery = next && this.#takeFrom(next, now);
      if (delivery) taken.push(delivery);
      idle = delivery ? 0 : idle + 1;
    }
    if (taken.length === 0) this.#armDue(feeds, now);
    return taken;
  }

  /** Only topics with something to hand out: of a thousand, most are idle. */
  #feeds(): readonly Feed[] {
    const feeds: Feed[] = [];
    for (const member of this.#members) {
      if (!member.mayHandOut) continue;
      for (const topic of member.shards.hot) {
        const of = member.shards.ofTopic(topic);
        if (of?.shards.some(({ waiting }) => waiting > 0)) feeds.push({ member, of });
        else member.shards.hot.delete(topic);
      }
    }
    return feeds;
  }

  #takeFrom({ member, of }: Feed, now: number): Delivery | undefined {
    const { shards } = of;
    for (let tried = 0; tried < shards.length; tried += 1) {
      const shard = shards[of.turn++ % shards.length];
      const delivery = shard && member.take(shard, now);
      if (delivery) return delivery;
    }
    return undefined;
  }

  /** Records that wait in memory wake us when the first is due. */
  #armDue(feeds: readonly Feed[], now: number): void {
    this.#cancelDue?.();
    this.#cancelDue = undefined;
    let first = Number.POSITIVE_INFINITY;
    for (const { of } of feeds) {
      for (const { nextDue } of of.shards) if (nextDue !== undefined && nextDue > now) first = Math.min(first, nextDue);
    }
    if (first < Number.POSITIVE_INFINITY) this.#cancelDue = this.#runtime.timer(first - now, () => this.#wake());
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiters.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiters.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }
}
