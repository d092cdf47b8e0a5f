import { DriverError, type Runtime, type SendItem } from "@sluice/core/driver";
import type { ClientMessage, TopicMessages } from "./client.ts";
import { tierFor } from "./delays.ts";
import { forbiddenTopic, toDriverError } from "./errors.ts";
import type { Names } from "./names.ts";
import { partitionOf } from "./partitioner.ts";
import { toKafka } from "./record.ts";
import { Refusals } from "./refusals.ts";
import type { TopicCatalogue } from "./topics.ts";
import { unlessAborted } from "./waiting.ts";

/** Bytes around a batch, and around a record beside its own. */
const batchOverhead = 61;
const recordOverhead = 32;
const headerOverhead = 8;

/** An item with its place: topic, partition and form on the wire. */
export interface Placed {
  readonly topic: string;
  readonly message: ClientMessage;
  readonly bytes: number;
}

/** Finds topic and partition of items, and what cannot be sent, before anything leaves the process. */
export class Placer {
  readonly topics: TopicCatalogue;
  readonly refusals: Refusals;
  readonly #runtime: Runtime;
  readonly #names: Names;
  #turn: number;

  constructor(topics: TopicCatalogue, runtime: Runtime, names: Names) {
    this.topics = topics;
    this.refusals = new Refusals(runtime);
    this.#runtime = runtime;
    this.#names = names;
    this.#turn = Math.floor(runtime.random() * 1024);
  }

  /** One answer per item, in order: its place, or why it has none. Never rejects. */
  async place(items: readonly SendItem[], signal: AbortSignal): Promise<readonly (Placed | DriverError)[]> {
    const now = this.#runtime.wallMs();
    const topics = items.map((item) => topicFor(item, now, this.#names));
    const unknown = await this.#learn(new Set(topics), signal);
    return items.map((item, index) => {
      const topic = topics[index] ?? item.to.topic;
      const problem = unknown.get(topic);
      if (problem?.code === "NOT_FOUND") return missing(topic, item, this.#names.destination(item.to));
      return problem ?? this.refusals.of(topic) ?? this.#placeOne(item, topic, now);
    });
  }

  /** Asks for the topics that are not known; resolves to why some cannot be sent to. */
  async #learn(topics: ReadonlySet<string>, signal: AbortSignal): Promise<ReadonlyMap<string, DriverError>> {
    const problems = new Map<string, DriverError>();
    const unknown = [...topics].filter((topic) => !this.topics.known(topic));
    if (unknown.length === 0) return problems;
    const named = unknown.map((topic) => `"${topic}"`).join(", ");
    try {
      const forbidden = await unlessAborted(this.topics.learn(unknown), signal, `send to ${named}`);
      for (const topic of unknown) {
        if (this.topics.known(topic)) continue;
        const reason = forbidden.get(topic);
        const problem =
          reason === undefined
            ? new DriverError("NOT_FOUND", `kafka: topic "${topic}" does not exist`)
            : forbiddenTopic(topic, reason);
        problems.set(topic, problem);
      }
    } catch (error) {
      for (const topic of unknown) problems.set(topic, toDriverError(error, `cannot send to ${named}`));
    }
    return problems;
  }

  #placeOne(item: SendItem, topic: string, now: number): Placed | DriverError {
    const facts = this.topics.known(topic);
    // It was learned a moment ago, unless a send that failed meanwhile made us forget.
    if (!facts) return new DriverError("UNAVAILABLE", `kafka: topic "${topic}" has to be looked up again`);
    const record = toKafka(item, now, topic !== this.#names.destination(item.to));
    const bytes = sizeOf(record);
    if (bytes + batchOverhead > facts.maxBatchBytes) return tooLarge(topic, bytes, facts.maxBatchBytes);
    const partition = record.key === null ? this.#turn++ % facts.partitions : partitionOf(record.key, facts.partitions);
    return { topic, message: { ...record, partition }, bytes };
  }

  /** In order; an item that does not fit into its partition's batch opens the next round, and so do all behind it. */
  rounds<T extends Placed>(placed: readonly T[]): readonly (readonly T[])[] {
    const rounds: T[][] = [];
    const filled = new Map<string, { round: number; bytes: number }>();
    for (const item of placed) {
      const place = `${item.topic}/${item.message.partition}`;
      const limit = this.topics.known(item.topic)?.maxBatchBytes ?? item.bytes;
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
}

/** As the client takes them. */
export function byTopic(placed: readonly Placed[]): readonly TopicMessages[] {
  const grouped = Map.groupBy(placed, ({ topic }) => topic);
  return [...grouped].map(([topic, theirs]) => ({ topic, messages: theirs.map(({ message }) => message) }));
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
    const named = headerOverhead + Buffer.byteLength(name);
    if (Array.isArray(value)) for (const part of value) bytes += named + Buffer.byteLength(part);
    else bytes += named + Buffer.byteLength(value);
  }
  return bytes;
}

function missing(topic: string, { to }: SendItem, entry: string): DriverError {
  const advice = "create it, or connect with provision: 'create'";
  if (to.group === undefined || topic !== entry) {
    return new DriverError("NOT_FOUND", `kafka: topic "${topic}" does not exist; ${advice}`);
  }
  const what = to.deadLetter ? "dead-letter topic" : "own entry";
  const problem = `kafka: the ${what} "${topic}" of group "${to.group}" does not exist; ${advice}`;
  return new DriverError("UNROUTABLE", problem);
}

function tooLarge(topic: string, bytes: number, limit: number): DriverError {
  return new DriverError(
    "TOO_LARGE",
    `kafka: a record of ${bytes} bytes is above the ${limit} that topic "${topic}" takes; raise its max.message.bytes, or store the payload elsewhere`,
  );
}
