import { type Delivery, type LostReason, type ReceiverOptions, type Source } from "@sluice/core/driver";
import type { ConsumerClient, Ends } from "./client.ts";
import type { CommitLoop } from "./commits.ts";
import { codeOfError } from "./errors.ts";
import type { Intake } from "./intake.ts";
import type { Membership } from "./membership.ts";
import { type Load, Shard } from "./shard.ts";
import type { Shards } from "./shards.ts";
import type { StartPositions } from "./starts.ts";
import type { Transactions } from "./transactions.ts";

export interface AssignmentParts {
  readonly options: ReceiverOptions;
  readonly shards: Shards;
  readonly load: Load;
  readonly client: ConsumerClient;
  readonly membership: Membership;
  readonly intake: Intake;
  readonly commits: CommitLoop;
  readonly starts: StartPositions;
  readonly transactions: Transactions | undefined;
  /** Where a finite source ends. */
  readonly ends: Ends | undefined;
  idOf(topic: string, partition: number): string;
  /** Only topics that were asked for are assigned. */
  sourceOf(topic: string): Source | undefined;
  /** These are not ours any more. */
  gone(shards: readonly Shard[]): void;
}

interface Place {
  readonly id: string;
  readonly topic: string;
  readonly partition: number;
}

/** What a join changes: partitions that go, stay and come. */
export class Assignment {
  readonly #parts: AssignmentParts;

  constructor(parts: AssignmentParts) {
    this.#parts = parts;
  }

  /** Resolves to whether everything that came may be handed out; false when another join was faster. */
  async change(assigned: ReadonlyMap<string, readonly number[]>, continued: boolean): Promise<boolean> {
    const { shards, client, membership, intake } = this.#parts;
    const epoch = membership.joined();
    intake.forget();
    const places = [...assigned].flatMap(([topic, ids]) =>
      ids.map((partition): Place => ({ topic, partition, id: this.#parts.idOf(topic, partition) })),
    );
    const ours = new Set(places.map(({ id }) => id));
    // After an expulsion others have had them meanwhile, also those that come back.
    const lost = [...shards.values()].filter(({ id }) => !continued || !ours.has(id));
    for (const { id } of lost) shards.delete(id);
    this.#parts.transactions?.resume(ours);
    const fresh = places.filter(({ id }) => !shards.get(id)?.ready);
    for (const { topic, partition } of fresh) client.pause(topic, partition);
    for (const shard of shards.values()) {
      if (!shard.ready) continue;
      shard.dirty = true;
      intake.resume(shard);
    }
    this.#parts.gone(lost);
    return this.#begin(fresh, epoch);
  }

  /** Nothing of these is handed out before its position, start mark and fence are stored. */
  async #begin(places: readonly Place[], epoch: number): Promise<boolean> {
    const { shards, starts, options, load, ends, intake, membership, transactions } = this.#parts;
    // Before the positions are read: what an earlier holder had begun moves them when it ends.
    await transactions?.open(places, () => membership.epoch === epoch && !membership.joining);
    if (membership.epoch !== epoch) return false;
    const begins = await starts.of(places);
    if (membership.epoch !== epoch) return false;
    const fresh = places.flatMap((place, index) => {
      const begin = begins[index];
      const end = ends && (ends.get(place.topic)?.get(place.partition)?.high ?? 0);
      const until = end ?? Number.POSITIVE_INFINITY;
      const source = this.#parts.sourceOf(place.topic);
      if (!begin || !source) return [];
      const counted = !("broadcast" in source);
      return [new Shard({ ...place, source, until }, begin, { window: options.window, counted, load })];
    });
    for (const shard of fresh) shards.set(shard);
    if (!(await this.#stored(epoch))) return false;
    for (const shard of fresh) {
      shard.ready = true;
      intake.resume(shard);
    }
    return true;
  }

  async #stored(epoch: number): Promise<boolean> {
    const { commits, membership } = this.#parts;
    try {
      await commits.run();
    } catch (error) {
      // Lost under way: the next join begins again.
      if (membership.epoch === epoch && codeOfError(error) !== "LOST") throw error;
      return false;
    }
    return membership.epoch === epoch;
  }
}

/** What was handed out of these and is not settled. */
export function outstanding(shards: Iterable<Shard>): readonly Delivery[] {
  return [...shards].flatMap(({ out }) => [...out.keys()]);
}

/** Tells core, unless there is nothing to tell. */
export function lose(options: ReceiverOptions, deliveries: readonly Delivery[], reason: LostReason): void {
  if (deliveries.length > 0) options.lost(deliveries, reason);
}
