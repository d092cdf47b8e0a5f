import { isDeepStrictEqual } from "node:util";
import type { Declaration, DeclaredGroup, DeclaredTopic } from "./driver/index.ts";
import { SluiceError } from "./errors.ts";
import type { AnyTopic } from "./topic.ts";

interface Entry {
  readonly topic: AnyTopic;
  delays: boolean;
  readonly groups: Map<string, DeclaredGroup>;
}

/** What a bus uses: every topic and group that it published to or subscribed to. */
export class Declarations {
  readonly #entries = new Map<string, Entry>();

  /**
   * @throws SluiceError `CONFIG` when another topic value of that name says otherwise about order or shards
   */
  addTopic(topic: AnyTopic, delays = false): void {
    const known = this.#entries.get(topic.name);
    if (known) {
      if (known.topic.ordering !== topic.ordering || known.topic.shards !== topic.shards) {
        throw new SluiceError(
          "CONFIG",
          `sluice: topic "${topic.name}" is declared twice: ordering '${known.topic.ordering}' with ${known.topic.shards} shards, ` +
            `and '${topic.ordering}' with ${topic.shards}; import one topic value on both sides`,
        );
      }
      known.delays ||= delays;
    } else this.#entries.set(topic.name, { topic, delays, groups: new Map() });
    for (const group of topic.groups) {
      this.addGroup(topic, { name: group, start: "now", retry: true, deadLetter: true });
    }
  }

  addGroup(topic: AnyTopic, group: DeclaredGroup): void {
    const entry = this.#entries.get(topic.name);
    if (!entry) {
      this.addTopic(topic);
      return this.addGroup(topic, group);
    }
    const known = entry.groups.get(group.name);
    const filter = group.filter ?? known?.filter;
    if (known?.filter && group.filter && !isDeepStrictEqual(known.filter, group.filter)) {
      const text = `sluice: group "${group.name}" of topic "${topic.name}" is subscribed with two filters; give them different groups`;
      throw new SluiceError("CONFIG", text);
    }
    entry.delays ||= group.retry;
    entry.groups.set(group.name, {
      name: group.name,
      // n.b. Who only publishes, or lists dead letters, says "now" without meaning it.
      start: known?.start === "earliest" ? "earliest" : group.start,
      retry: group.retry || known?.retry === true,
      deadLetter: group.deadLetter || known?.deadLetter === true,
      ...(filter && { filter }),
    });
  }

  /** These and more; what is here stays as it is. */
  with(topics: readonly AnyTopic[]): Declarations {
    const more = new Declarations();
    for (const [name, entry] of this.#entries) more.#entries.set(name, { ...entry, groups: new Map(entry.groups) });
    for (const topic of topics) more.addTopic(topic);
    return more;
  }

  has(topic: AnyTopic): boolean {
    return this.#entries.get(topic.name)?.topic === topic;
  }

  get anyDelays(): boolean {
    return [...this.#entries.values()].some((entry) => entry.delays);
  }

  /** All topics, or only those. */
  snapshot(only?: readonly string[]): Declaration {
    const entries = [...this.#entries.values()].filter(({ topic }) => !only || only.includes(topic.name));
    const topics = entries.map(({ topic, delays, groups }): DeclaredTopic => ({
      name: topic.name,
      ordered: topic.ordering === "key",
      shards: topic.shards,
      delays,
      groups: [...groups.values()],
    }));
    return { topics };
  }
}
