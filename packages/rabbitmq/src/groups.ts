import { DriverError, type Key, type Resource, type Runtime } from "@sluice/core/driver";
import { type Ask, exists, Scratch } from "./channel.ts";
import type { Link } from "./link.ts";
import type { Names } from "./names.ts";
import { hashBits, shardName, shardOf } from "./routing.ts";

/** `-1`: unordered, one queue. Else `2 ** bits` queues. */
export type Bits = number;

/** Declares under way at once, each on a channel of its own: AMQP answers one at a time on each. */
const workers = 32;

/** Channels of those kept open for the next time: a subscription declares a handful of things. */
const kept = 4;

/** What exists on the broker: asked passively, on a channel that may die of it, and remembered while it exists. */
export class Groups {
  readonly #names: Names;
  readonly #link: Link;
  readonly #runtime: Runtime;
  readonly #scratch: Scratch;
  readonly #idle: Scratch[] = [];
  /** Runs any call that may fail, one at a time. */
  readonly ask: Ask;
  readonly #known = new Map<string, Bits>();
  readonly #present = new Set<string>();

  constructor(link: Link, runtime: Runtime, names: Names) {
    this.#names = names;
    this.#link = link;
    this.#runtime = runtime;
    this.#scratch = new Scratch(link, runtime);
    this.ask = this.#scratch.ask;
  }

  /** What this process declared needs no asking. */
  learn(resources: readonly Resource[]): void {
    for (const { kind, name, settings } of resources) {
      if (kind === "shards" && typeof settings["bits"] === "number") this.#known.set(name, settings["bits"]);
    }
  }

  /** The queues of a group; none = the group does not exist. */
  async queues(topic: string, group: string, signal?: AbortSignal): Promise<readonly string[]> {
    const base = this.#names.queue(topic, group);
    const bits = await this.#bits(base, signal);
    if (bits === undefined) return [];
    if (bits < 0) return [base];
    return Array.from({ length: 2 ** bits }, (_, shard) => `${base}.${shardName(shard, bits)}`);
  }

  /** The queue that keeps a key; synchronous when it is known. `undefined`: the group does not exist. */
  queueOf(topic: string, group: string, key: Key): string | undefined | Promise<string | undefined> {
    const base = this.#names.queue(topic, group);
    const bits = this.#known.get(base);
    if (bits !== undefined) return queueName(base, bits, key);
    return this.#bits(base).then((found) => (found === undefined ? undefined : queueName(base, found, key)));
  }

  /** Numbers of shards for which a first queue exists. More than one: the number was changed, and old queues are still bound. */
  async found(base: string, signal?: AbortSignal): Promise<readonly Bits[]> {
    const found: Bits[] = [];
    for (let bits = -1; bits <= hashBits; bits++) {
      const first = bits < 0 ? base : `${base}.${shardName(0, bits)}`;
      if (await exists(this.ask, "queue", first, signal)) found.push(bits);
    }
    return found;
  }

  /** Whether it exists, remembering a yes: for the path of every message. */
  isPresent(kind: "queue" | "exchange", name: string): true | Promise<boolean> {
    const label = `${kind} ${name}`;
    if (this.#present.has(label)) return true;
    return exists(this.ask, kind, name).then((present) => {
      if (present) this.#present.add(label);
      return present;
    });
  }

  /** After a channel died of something missing, nothing is taken for granted. */
  forget(): void {
    this.#present.clear();
  }

  /** Runs `work` for every item, several at once, each of them with a channel that may die of it. */
  async each<T>(items: readonly T[], work: (item: T, ask: Ask) => Promise<void>): Promise<void> {
    const left = [...items];
    const worker = async () => {
      const scratch = this.#idle.pop() ?? new Scratch(this.#link, this.#runtime);
      try {
        for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item, scratch.ask);
      } finally {
        left.length = 0;
        if (this.#idle.length < kept) this.#idle.push(scratch);
        else await scratch.close();
      }
    };
    await Promise.all(Array.from({ length: Math.min(workers, left.length) }, worker));
  }

  async close(): Promise<void> {
    await Promise.all([this.#scratch, ...this.#idle.splice(0)].map((scratch) => scratch.close()));
  }

  async #bits(base: string, signal?: AbortSignal): Promise<Bits | undefined> {
    const known = this.#known.get(base);
    if (known !== undefined) return known;
    const found = await this.found(base, signal);
    if (found.length > 1) {
      throw new DriverError(
        "MISMATCH",
        `rabbitmq: group queue "${base}" exists with several numbers of shards; declare the topic, and delete the queues of the old number`,
      );
    }
    const [bits] = found;
    if (bits !== undefined) this.#known.set(base, bits);
    return bits;
  }
}

function queueName(base: string, bits: Bits, key: Key): string {
  return bits < 0 ? base : `${base}.${shardName(shardOf(key, bits), bits)}`;
}
