import { DriverError, type Runtime } from "@sluice/core/driver";

/** So long a refusal counts: every further attempt would cost a producer, and hold up what others send. */
const refusedMs = 5_000;

/**
 * Topics that we may not write to. n.b. a refused topic fails the whole request, and the answer does not say which one it is: after
 * such a refusal, topics that are not known to work are sent to one by one.
 */
export class Refusals {
  readonly #runtime: Runtime;
  readonly #refused = new Map<string, { readonly error: DriverError; readonly untilMs: number }>();
  /** Topics that were sent to with success, and not refused together with others since. */
  readonly #working = new Set<string>();
  #careful = false;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** The refusal of a topic, while it counts. */
  of(topic: string): DriverError | undefined {
    const found = this.#refused.get(topic);
    if (found && found.untilMs > this.#runtime.monotonicMs()) return found.error;
    this.#refused.delete(topic);
    return undefined;
  }

  stored(topics: readonly string[]): void {
    for (const topic of topics) this.#working.add(topic);
  }

  /** Resolves to what the senders are told: of several topics nobody knows yet whose it is, and each is tried again. */
  refused(topics: readonly string[], error: DriverError): DriverError {
    for (const topic of topics) this.#working.delete(topic);
    const [topic, ...others] = topics;
    if (topic !== undefined && others.length === 0) {
      this.#refused.set(topic, { error, untilMs: this.#runtime.monotonicMs() + refusedMs });
      return error;
    }
    this.#careful = true;
    return new DriverError("UNAVAILABLE", `${error.message}; each of them is tried alone`, { cause: error });
  }

  /** Parts that may be sent together. The order within a topic stays. */
  apart<T extends { readonly topic: string }>(placed: readonly T[]): readonly (readonly T[])[] {
    if (!this.#careful) return [placed];
    const parts = Map.groupBy(placed, ({ topic }) => (this.#working.has(topic) ? "" : topic));
    return [...parts.values()];
  }
}
