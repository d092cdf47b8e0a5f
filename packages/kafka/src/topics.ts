import type { Runtime } from "@sluice/core/driver";
import type { AdminClient } from "./client.ts";

export interface TopicFacts {
  readonly partitions: number;
  /** Largest batch of records that the topic takes, bytes. */
  readonly maxBatchBytes: number;
}

const defaultMaxBatchBytes = 1_048_588;

/** What senders know of topics: asked for once, and again after a while, because partitions can be added. */
export class TopicCatalogue {
  readonly #admin: AdminClient;
  readonly #runtime: Runtime;
  readonly #maxAgeMs: number;
  readonly #known = new Map<string, { readonly facts: TopicFacts; readonly at: number }>();
  readonly #asked = new Map<string, Promise<TopicFacts | undefined>>();

  constructor(admin: AdminClient, runtime: Runtime, maxAgeMs: number) {
    this.#admin = admin;
    this.#runtime = runtime;
    this.#maxAgeMs = maxAgeMs;
  }

  /** The facts without asking, while they are fresh. */
  known(topic: string): TopicFacts | undefined {
    const found = this.#known.get(topic);
    return found && this.#runtime.monotonicMs() - found.at < this.#maxAgeMs ? found.facts : undefined;
  }

  /** `undefined`: the topic does not exist. Rejects when the broker cannot be asked. */
  async find(topic: string): Promise<TopicFacts | undefined> {
    const known = this.known(topic);
    if (known) return known;
    const asked = this.#asked.get(topic) ?? this.#ask(topic).finally(() => this.#asked.delete(topic));
    this.#asked.set(topic, asked);
    return asked;
  }

  /** Asks anew; `undefined` when the broker cannot be asked. */
  async exists(topic: string): Promise<boolean | undefined> {
    try {
      return (await this.#admin.partitions(topic)) !== undefined;
    } catch {
      return undefined;
    }
  }

  /** After a failed send: a topic may be gone, or have moved. */
  forget(): void {
    this.#known.clear();
  }

  async #ask(topic: string): Promise<TopicFacts | undefined> {
    const partitions = await this.#admin.partitions(topic);
    if (partitions === undefined) return undefined;
    const facts = { partitions, maxBatchBytes: await this.#maxBatchBytes(topic) };
    this.#known.set(topic, { facts, at: this.#runtime.monotonicMs() });
    return facts;
  }

  /** Reading the configuration is a right of its own: without it the broker's default is assumed. */
  async #maxBatchBytes(topic: string): Promise<number> {
    try {
      const value = Number((await this.#admin.settings(topic)).get("max.message.bytes"));
      return value > 0 ? value : defaultMaxBatchBytes;
    } catch {
      return defaultMaxBatchBytes;
    }
  }
}
