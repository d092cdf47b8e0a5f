import type { Runtime } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import type { Names } from "./names.ts";
import { numbers, textOf } from "./replies.ts";
import { moveDue } from "./scripts/store.ts";
import type { Together } from "./slots.ts";

/** How often we look for what others delayed: they move their own in time, unless they have gone. */
const pollMs = 500;
/** Topics of one script call, and records that one may move. */
const mostTopics = 200;
const mostRecords = 500;

export interface DelaysParts {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly names: Names;
  readonly together: Together;
}

/**
 * Moves delayed records on when they are due. Everybody who delays something or reads a topic helps; a script makes each move one
 * step, so that helpers may die and race as they like.
 */
export class Delays {
  readonly #parts: DelaysParts;
  readonly #topics = new Set<string>();
  #cancel: (() => void) | undefined;
  #atMs = Infinity;
  #busy = false;
  #ended = false;

  constructor(parts: DelaysParts) {
    this.#parts = parts;
    void parts.link.closed.then(() => this.end());
  }

  watch(topic: string): void {
    this.#topics.add(topic);
    this.#schedule(pollMs);
  }

  /** A record of this topic is due in so many milliseconds. */
  delayed(topic: string, ms: number): void {
    this.#topics.add(topic);
    this.#schedule(Math.min(ms, pollMs));
  }

  end(): void {
    this.#ended = true;
    this.#cancel?.();
  }

  #schedule(ms: number): void {
    const { runtime } = this.#parts;
    const atMs = runtime.monotonicMs() + Math.max(1, ms);
    if (this.#ended || this.#busy || atMs >= this.#atMs) {
      // While it runs, what it finds out decides; it looks again at least every `pollMs`.
      if (this.#busy) this.#atMs = Math.min(this.#atMs, atMs);
      return;
    }
    this.#cancel?.();
    this.#atMs = atMs;
    this.#cancel = runtime.timer(Math.max(1, ms), () => void this.#move(), { background: true });
  }

  async #move(): Promise<void> {
    const { runtime } = this.#parts;
    this.#busy = true;
    this.#atMs = Infinity;
    let nextMs = pollMs * (0.9 + runtime.random() / 5);
    try {
      for (const topics of this.#portions()) nextMs = Math.min(nextMs, await this.#moveSome(topics));
    } catch {
      // The connection fails by itself, and a server in trouble is asked again.
    }
    this.#busy = false;
    // What was delayed meanwhile may be due earlier.
    const askedMs = this.#atMs - runtime.monotonicMs();
    this.#atMs = Infinity;
    this.#schedule(Math.min(nextMs, askedMs));
  }

  async #moveSome(topics: readonly string[]): Promise<number> {
    const { link, names } = this.#parts;
    const keys = topics.flatMap((topic) => names.delayed(topic));
    const answer = await link.run("cannot move delayed records", moveDue, keys, [mostRecords]);
    const [result, trouble] = Array.isArray(answer) ? [answer.slice(0, 2), textOf(answer[2])] : [[], ""];
    const [moved = 0, waitMs = -1] = numbers(result);
    // A server out of memory, say: what is due stays due, and must not be tried without a pause.
    if (trouble !== "") return pollMs;
    if (moved >= mostRecords) return 1;
    return waitMs < 0 ? Infinity : waitMs;
  }

  #portions(): readonly (readonly string[])[] {
    const { names, together } = this.#parts;
    const all = [...this.#topics].map((topic) => ({ topic, stream: names.stream(topic, 0) }));
    const portions: string[][] = [];
    for (const part of together(all)) {
      for (let index = 0; index < part.length; index += mostTopics) {
        portions.push(part.slice(index, index + mostTopics).map(({ topic }) => topic));
      }
    }
    return portions;
  }
}
