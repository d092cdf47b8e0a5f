import { type Destination, DriverError, type Runtime, type SendItem } from "@sluice/core/driver";
import type { Argument } from "./client.ts";
import type { Keys } from "./keys.ts";
import { type Names, shardOf } from "./names.ts";
import type { Settings } from "./options.ts";
import { type Fields, toFields } from "./record.ts";

/** One write, as the scripts take it. */
export interface Write {
  readonly topic: string;
  readonly stream: string;
  /** '' for the topic itself. */
  readonly group: string;
  readonly delayMs: number;
  /** Key that remembers it; '' = not remembered. */
  readonly memory: string;
  readonly fields: Fields;
}

export interface StoresParts {
  readonly names: Names;
  readonly settings: Settings;
  readonly runtime: Runtime;
}

/** Turns records into writes: which stream, which name, which fields. */
export class Stores {
  readonly #parts: StoresParts;

  constructor(parts: StoresParts) {
    this.#parts = parts;
  }

  /** @throws DriverError INVALID_MESSAGE when the wire cannot carry it */
  write({ to, record, notBefore, from }: SendItem, shards: number): Write {
    const { settings, runtime, names } = this.#parts;
    // Without a key any shard will do; a repeated write has to find the same one.
    const shard = shards === 1 ? 0 : shardOf(record.key ?? record.dedupId, shards);
    const place = to.group === undefined ? "" : `${to.deadLetter ? "dlq" : "own"}:${to.group}`;
    // n.b. two groups move the same message: the name of a write needs its destination.
    const memory = settings.deduplicationMs > 0 ? `${names.writes(to.topic)}${place}:${record.dedupId}` : "";
    return {
      topic: to.topic,
      stream: this.streamOf(to, shard),
      group: to.group ?? "",
      // The server's clock decides when it is due; ours only how long that is from now.
      delayMs: notBefore === undefined ? 0 : Math.max(0, Math.ceil(notBefore - runtime.wallMs())),
      memory,
      fields: toFields(record, from?.native),
    };
  }

  streamOf(to: Destination, shard: number): string {
    const { names } = this.#parts;
    if (to.group === undefined) return names.stream(to.topic, shard);
    return to.deadLetter ? names.deadLetters(to.topic, to.group) : names.own(to.topic, to.group, shard);
  }

  /** Adds the keys of writes, and answers the arguments with which every storing script begins. */
  call(keys: Keys, writes: readonly Write[]): Argument[] {
    const args: Argument[] = [this.#parts.settings.deduplicationMs, writes.length];
    for (const { topic, stream, group, delayMs, memory, fields } of writes) {
      const place = delayMs > 0 ? keys.index(...this.#parts.names.delayed(topic)) : 0;
      args.push(keys.index(stream), place, group, delayMs, memory, fields.length, ...fields);
    }
    return args;
  }
}

/** Nothing is at this destination. */
export function nowhere({ topic, group, deadLetter }: Destination): DriverError {
  if (group === undefined) {
    return new DriverError(
      "NOT_FOUND",
      `redis: topic "${topic}" does not exist; create it, or connect with provision: 'create'`,
    );
  }
  const what = deadLetter ? "has no dead letters" : "has no own entry";
  return new DriverError(
    "UNROUTABLE",
    `redis: group "${group}" of topic "${topic}" ${what}; subscribe first, or declare the group`,
  );
}
