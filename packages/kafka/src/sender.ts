import { DriverError, type Runtime, type SendItem, type Sender, type SendResult } from "@sluice/core/driver";
import type { ClientMessage, ProducerClient } from "./client.ts";
import { tierFor } from "./delays.ts";
import { toDriverError } from "./errors.ts";
import type { Names } from "./names.ts";
import { partitionOf } from "./partitioner.ts";
import { toKafka } from "./record.ts";
import type { TopicCatalogue } from "./topics.ts";
import { unlessAborted } from "./waiting.ts";

/** Bytes around a batch, and around a record beside its own. */
const batchOverhead = 61;
const recordOverhead = 32;
const headerOverhead = 8;
const closeGraceMs = 2_000;
const slowSendMs = 1_000;

interface Placed {
  readonly index: number;
  readonly topic: string;
  readonly message: ClientMessage;
  readonly bytes: number;
}

/** Batches of one call, one after another: within each no partition gets more than one batch of records may hold. */
type Round = readonly Placed[];

/**
 * One idempotent producer, one outstanding request. Any rejection ends it: kafkajs rolls back the sequence numbers of what was
 * stored too, so the broker would acknowledge the next batch of a reused producer as a duplicate, and not store it.
 */
export class KafkaSender implements Sender {
  readonly closed: Promise<DriverError | undefined>;
  readonly #producer: ProducerClient;
  readonly #topics: TopicCatalogue;
  readonly #runtime: Runtime;
  readonly #names: Names;
  #finish!: (reason: DriverError | undefined) => void; // set in the constructor, by the promise
  #ended: DriverError | undefined;
  /** Every topic that the producer has in its list by now. */
  readonly #used = new Set<string>();
  #tail: Promise<unknown> = Promise.resolve();
  #turn: number;

  constructor(producer: ProducerClient, topics: TopicCatalogue, runtime: Runtime, names: Names) {
    this.#producer = producer;
    this.#topics = topics;
    this.#runtime = runtime;
    this.#names = names;
    this.#turn = Math.floor(runtime.random() * 1024);
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
    const placed = await this.#place(items, results, signal);
    for (const round of roundsOf(placed, (topic) => this.#topics.known(topic)?.maxBatchBytes)) {
      const failure =
        this.#ended ?? (signal.aborted ? new DriverError("ABORTED", "kafka: send: ended by its signal") : undefined);
      const result = failure ? ({ outcome: "not-stored", error: failure } as const) : await this.#write(round, signal);
      for (const { index } of round) results[index] = result;
    }
    return results;
  }

  /** Finds topic and partition of every item; what cannot be sent gets its result here, before anything leaves the process. */
  async #place(items: readonly SendItem[], results: SendResult[], signal: AbortSignal): Promise<readonly Placed[]> {
    const now = this.#runtime.wallMs();
    const topics = items.map((item) => topicFor(item, now, this.#names));
    const unknown = await this.#learn(new Set(topics), signal);
    const placed: Placed[] = [];
    for (const [index, item] of items.entries()) {
      const topic = topics[index] ?? item.to.topic;
      const outcome = unknown.get(topic) ?? this.#placeOne(item, { index, topic, now });
      if (!(outcome instanceof DriverError)) placed.push(outcome);
      else if (outcome.code === "NOT_FOUND") results[index] = missing(topic, item, this.#names.destination(item.to));
      else results[index] = { outcome: "not-stored", error: outcome };
    }
    return placed;
  }

  /** Asks for the topics that are not known; resolves to why some cannot be sent to. */
  async #learn(topics: ReadonlySet<string>, signal: AbortSignal): Promise<ReadonlyMap<string, DriverError>> {
    const problems = new Map<string, DriverError>();
    const unknown = [...topics].filter((topic) => !this.#topics.known(topic));
    if (unknown.length === 0) return problems;
    const named = unknown.map((topic) => `"${topic}"`).join(", ");
    try {
      await unlessAborted(this.#topics.learn(unknown), signal, `send to ${named}`);
      for (const topic of unknown) {
        if (this.#topics.known(topic)) continue;
        problems.set(topic, new DriverError("NOT_FOUND", `kafka: topic "${topic}" does not exist`));
      }
    } catch (error) {
      for (const topic of unknown) problems.set(topic, toDriverError(error, `cannot send to ${named}`));
    }
    return problems;
  }

  #placeOne(
    item: SendItem,
    { index, topic, now }: { index: number; topic: string; now: number },
  ): Placed | DriverError {
    const facts = this.#topics.known(topic);
    // It was learned a moment ago, unless a send that failed meanwhile made us forget.
    if (!facts) return new DriverError("UNAVAILABLE", `kafka: topic "${topic}" has to be looked up again`);
    const record = toKafka(item, now, topic !== this.#names.destination(item.to));
    const bytes = sizeOf(record);
    if (bytes + batchOverhead > facts.maxBatchBytes) return tooLarge(topic, bytes, facts.maxBatchBytes);
    const partition = record.key === null ? this.#turn++ % facts.partitions : partitionOf(record.key, facts.partitions);
    return { index, topic, message: { ...record, partition }, bytes };
  }

  async #write(round: Round, signal: AbortSignal): Promise<SendResult> {
    const before = this.#producer.requestsWritten;
    const grouped = Map.groupBy(round, ({ topic }) => topic);
    const batch = [...grouped].map(([topic, placed]) => ({ topic, messages: placed.map(({ message }) => message) }));
    for (const topic of grouped.keys()) this.#used.add(topic);
    const patience = this.#watchTopics();
    try {
      await unlessAborted(Promise.race([this.#producer.send(batch), patience.gone]), signal, "send");
      return { outcome: "stored" };
    } catch (error) {
      const what = `cannot send ${round.length} records to ${[...grouped.keys()].map((topic) => `"${topic}"`).join(", ")}`;
      const failure = toDriverError(error, what);
      this.#end(failure);
      this.#topics.forget();
      this.#producer.dispose();
      return { outcome: this.#producer.requestsWritten === before ? "not-stored" : "unknown", error: failure };
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
        if ((await this.#topics.exists(topic)) !== false) continue;
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
    this.#ended = reason ?? new DriverError("LOST", "kafka: the sender is closed");
    this.#finish(reason);
  }
}

/** In order; an item that does not fit into its partition's batch opens the next round, and so do all behind it. */
function roundsOf(placed: readonly Placed[], limitOf: (topic: string) => number | undefined): readonly Round[] {
  const rounds: Placed[][] = [];
  const filled = new Map<string, { round: number; bytes: number }>();
  for (const item of placed) {
    const place = `${item.topic}/${item.message.partition}`;
    const limit = limitOf(item.topic) ?? item.bytes;
    const last = filled.get(place) ?? { round: 0, bytes: batchOverhead };
    const fits = last.bytes + item.bytes <= limit || last.bytes === batchOverhead;
    const next = fits
      ? { round: last.round, bytes: last.bytes + item.bytes }
      : { round: last.round + 1, bytes: batchOverhead + item.bytes };
    filled.set(place, next);
    (rounds[next.round] ??= []).push(item);
  }
  return rounds;
}

/** A record that is not due goes to a waiting place. */
function topicFor(item: SendItem, now: number, names: Names): string {
  const remaining = (item.notBefore ?? 0) - now;
  return remaining > 0 ? names.delay(tierFor(remaining)) : names.destination(item.to);
}

function sizeOf(record: Omit<ClientMessage, "partition">): number {
  let bytes = recordOverhead + (record.key?.length ?? 0) + (record.value?.length ?? 0);
  for (const name in record.headers) {
    const value = record.headers[name] ?? "";
    if (Array.isArray(value)) {
      for (const part of value) bytes += headerOverhead + Buffer.byteLength(name) + Buffer.byteLength(part);
    } else bytes += headerOverhead + Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  return bytes;
}

function missing(topic: string, { to }: SendItem, entry: string): SendResult {
  const advice = "create it, or connect with provision: 'create'";
  if (to.group === undefined || topic !== entry) {
    return {
      outcome: "not-stored",
      error: new DriverError("NOT_FOUND", `kafka: topic "${topic}" does not exist; ${advice}`),
    };
  }
  const what = to.deadLetter ? "dead-letter topic" : "own entry";
  const problem = `kafka: the ${what} "${topic}" of group "${to.group}" does not exist; ${advice}`;
  return { outcome: "unroutable", error: new DriverError("UNROUTABLE", problem) };
}

function tooLarge(topic: string, bytes: number, limit: number): DriverError {
  return new DriverError(
    "TOO_LARGE",
    `kafka: a record of ${bytes} bytes is above the ${limit} that topic "${topic}" takes; raise its max.message.bytes, or store the payload elsewhere`,
  );
}
