import { DriverError, type Runtime, type SendItem, type Sender, type SendResult } from "@sluice/core/driver";
import type { ProducerClient } from "./client.ts";
import { toDriverError } from "./errors.ts";
import { type Placed, type Placer, byTopic } from "./placing.ts";
import { unlessAborted } from "./waiting.ts";

const closeGraceMs = 2_000;
const slowSendMs = 1_000;

/** Batches of one call, one after another: within each no partition gets more than one batch of records may hold. */
type Round = readonly (Placed & { readonly index: number })[];

/**
 * One idempotent producer, one outstanding request. Any rejection ends it: kafkajs rolls back the sequence numbers of what was
 * stored too, so the broker would acknowledge the next batch of a reused producer as a duplicate, and not store it.
 */
export class KafkaSender implements Sender {
  readonly closed: Promise<DriverError | undefined>;
  readonly #producer: ProducerClient;
  readonly #placer: Placer;
  readonly #runtime: Runtime;
  #finish!: (reason: DriverError | undefined) => void; // set in the constructor, by the promise
  #ended: DriverError | undefined;
  /** Every topic that the producer has in its list by now. */
  readonly #used = new Set<string>();
  #tail: Promise<unknown> = Promise.resolve();

  constructor(producer: ProducerClient, placer: Placer, runtime: Runtime) {
    this.#producer = producer;
    this.#placer = placer;
    this.#runtime = runtime;
    this.closed = new Promise((resolve) => (this.#finish = resolve));
  }

  send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    // Calls wait for one another: two outstanding ones lose a message when an acknowledgement is lost.
    const result = this.#tail.then(() => this.#send(items, signal));
    this.#tail = result;
    return result;
  }

  async close(signal: AbortSignal): Promise<void> {
    if (!this.#ended) {
      await unlessAborted(this.#tail, signal, "close").catch(() => {}); // what is left settles as the producer goes
      this.#end(undefined);
      await this.#producer.close(signal.aborted ? 0 : closeGraceMs);
    }
    await this.#tail;
  }

  async #send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    const results: SendResult[] = [];
    const placed: (Placed & { readonly index: number })[] = [];
    for (const [index, place] of (await this.#placer.place(items, signal)).entries()) {
      if (!(place instanceof DriverError)) placed.push({ ...place, index });
      else results[index] = { outcome: place.code === "UNROUTABLE" ? "unroutable" : "not-stored", error: place };
    }
    const { refusals } = this.#placer;
    for (const round of refusals.apart(placed).flatMap((part) => this.#placer.rounds(part))) {
      const failure =
        this.#ended ?? (signal.aborted ? new DriverError("ABORTED", "kafka: send: ended by its signal") : undefined);
      const result = failure ? ({ outcome: "not-stored", error: failure } as const) : await this.#write(round, signal);
      for (const { index } of round) results[index] = result;
    }
    return results;
  }

  async #write(round: Round, signal: AbortSignal): Promise<SendResult> {
    const before = this.#producer.requestsWritten;
    const batch = byTopic(round);
    const topics = batch.map(({ topic }) => topic);
    for (const topic of topics) this.#used.add(topic);
    const patience = this.#watchTopics();
    try {
      await unlessAborted(Promise.race([this.#producer.send(batch), patience.gone]), signal, "send");
      this.#placer.refusals.stored(topics);
      return { outcome: "stored" };
    } catch (error) {
      const what = `cannot send ${round.length} records to ${topics.map((topic) => `"${topic}"`).join(", ")}`;
      const failure = toDriverError(error, what);
      this.#end(failure);
      this.#placer.topics.forget();
      this.#producer.dispose();
      const unsent = this.#producer.requestsWritten === before;
      if (failure.code !== "FORBIDDEN") return { outcome: unsent ? "not-stored" : "unknown", error: failure };
      // Rights are asked before anything is stored, so that one topic alone was refused as a whole.
      const refusal = this.#placer.refusals.refused(topics, failure);
      return { outcome: unsent || topics.length === 1 ? "not-stored" : "unknown", error: refusal };
    } finally {
      patience.cancel();
    }
  }

  /**
   * n.b. one topic that was deleted fails every metadata answer of a producer that has ever sent to it, so its sends to all others
   * stand still. A send that takes long looks for one; a new producer knows only what it sends to.
   */
  #watchTopics(): { readonly gone: Promise<never>; cancel(): void } {
    const { promise: gone, reject } = Promise.withResolvers<never>();
    gone.catch(() => {}); // it may come when nobody waits any more
    const look = async (): Promise<void> => {
      for (const topic of this.#used) {
        if ((await this.#placer.topics.exists(topic)) !== false) continue;
        reject(
          new DriverError(
            "UNAVAILABLE",
            `kafka: topic "${topic}" is gone, and holds up this producer; another is opened`,
          ),
        );
      }
    };
    const cancel = this.#runtime.timer(slowSendMs, () => void look());
    return { gone, cancel };
  }

  #end(reason: DriverError | undefined): void {
    if (this.#ended) return;
    // What else was to be sent by this producer has no part in its failure.
    const after =
      reason && new DriverError("LOST", `kafka: the producer is gone: ${reason.message}`, { cause: reason });
    this.#ended = after ?? new DriverError("LOST", "kafka: the sender is closed");
    this.#finish(reason);
  }
}
