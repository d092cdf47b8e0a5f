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

  /** Asks for these; what does not exist stays unknown. Resolves to those that may not be seen. Rejects when the broker cannot be asked. */
  async learn(topics: readonly string[]): Promise<ReadonlyMap<string, unknown>> {
    const { partitions, forbidden } = await this.#admin.look(topics);
    const limits = await this.#maxBatchBytes([...partitions.keys()]);
    const at = this.#runtime.monotonicMs();
    for (const [topic, count] of partitions) {
      this.#known.set(topic, {
        facts: { partitions: count, maxBatchBytes: limits.get(topic) ?? defaultMaxBatchBytes },
        at,
      });
    }
    return forbidden;
  }

  /** Asks anew; `undefined` when the broker cannot be asked. */
  async exists(topic: string): Promise<boolean | undefined> {
    try {
      return (await this.#admin.partitions([topic])).has(topic);
    } catch {
      return undefined;
    }
  }

  /** After a failed send: a topic may be gone, or have moved. */
  forget(): void {
    this.#known.clear();
  }

  /** Reading the configuration is a right of its own: without it the broker's default is assumed. */
  async #maxBatchBytes(topics: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const limits = new Map<string, number>();
    if (topics.length === 0) return limits;
    try {
      for (const [topic, settings] of await this.#admin.settings(topics)) {
        const value = Number(settings.get("max.message.bytes"));
        if (value > 0) limits.set(topic, value);
      }
    } catch {
      // Not allowed, for one of them or for all.
    }
    return limits;
  }
}
