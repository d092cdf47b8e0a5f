import type { Delivery, Receiver } from "../driver/index.ts";
import type { Counters } from "./counters.ts";
import type { EngineOptions } from "./engine-options.ts";
import { unwanted } from "./filter.ts";
import type { Held } from "./held.ts";
import { Work } from "./work.ts";

/** What comes in: held from here on, unless it was lost on its way. */
export class Admission {
  readonly #options: Pick<EngineOptions, "settings" | "runtime" | "topics">;
  readonly #held: Held;
  readonly #counters: Counters;
  /** Lost before they were admitted: the `receive` that brings them was still under way. */
  readonly #early = new WeakSet<Delivery>();

  constructor(options: Pick<EngineOptions, "settings" | "runtime" | "topics">, held: Held, counters: Counters) {
    this.#options = options;
    this.#held = held;
    this.#counters = counters;
  }

  /** `undefined`: lost already. */
  keep(delivery: Delivery, receiver: Receiver): Work | undefined {
    const { topics, settings, runtime } = this.#options;
    const topic = topics.get(delivery.source.topic ?? "");
    if (!topic || this.#early.has(delivery)) return undefined;
    const ordered = settings.ordered && topic.ordering === "key";
    const work = new Work(delivery, receiver, topic, ordered, () => runtime.id());
    this.#held.add(work);
    this.#counters.received++;
    return work;
  }

  /** It went to another holder, and has not been here yet. */
  lost(delivery: Delivery): void {
    this.#early.add(delivery);
  }

  /** Why nobody is to handle it, counted. */
  unwanted(work: Work): "expired" | "filtered" | undefined {
    const { settings, runtime } = this.#options;
    const why = unwanted(work.delivery.headers, settings.filter, runtime);
    if (why === "expired") this.#counters.dropped++;
    if (why === "filtered") this.#counters.filtered++;
    return why;
  }
}
