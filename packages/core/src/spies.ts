import type { SettledFate } from "./events.ts";

/** The last word of this process about a message. */
export interface Settled {
  readonly topic: string;
  readonly group: string;
  readonly id: string;
  readonly fate: SettledFate;
  readonly reason: string | undefined;
}

/** Which message to wait for. */
export interface SettledMatch {
  readonly group?: string;
  readonly id?: string;
  readonly fate?: SettledFate;
}

interface Spy {
  readonly topic: string;
  readonly match: SettledMatch;
  readonly resolve: (settled: Settled) => void;
}

/** Waiting tests. Costs one check per message while nobody waits. */
export class Spies {
  #waiting: Spy[] = [];

  wait(topic: string, match: SettledMatch): Promise<Settled> {
    return new Promise((resolve) => void this.#waiting.push({ topic, match, resolve }));
  }

  get active(): boolean {
    return this.#waiting.length > 0;
  }

  notify(settled: Settled): void {
    const { topic, group, id, fate } = settled;
    this.#waiting = this.#waiting.filter((spy) => {
      const { match } = spy;
      const hit =
        spy.topic === topic &&
        (match.group ?? group) === group &&
        (match.id ?? id) === id &&
        (match.fate ?? fate) === fate;
      if (hit) spy.resolve(settled);
      return !hit;
    });
  }
}
