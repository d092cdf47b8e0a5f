import type { Runtime } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import type { Names } from "./names.ts";
import { textOf } from "./replies.ts";

/** How long a topic that says nothing of itself is taken for unordered. */
const unknownMs = 5_000;

/** How many shards a topic has: fixed when it was made, and the same for every sender and reader. */
export class Topics {
  readonly #link: Link;
  readonly #names: Names;
  readonly #runtime: Runtime;
  readonly #known = new Map<string, { readonly shards: number; readonly untilMs: number }>();
  readonly #asked = new Map<string, Promise<number>>();

  constructor(link: Link, names: Names, runtime: Runtime) {
    this.#link = link;
    this.#names = names;
    this.#runtime = runtime;
  }

  /** A topic that a foreign program made, or nobody, has one. @throws DriverError */
  shards(topic: string): number | Promise<number> {
    const known = this.#known.get(topic);
    if (known && known.untilMs > this.#runtime.monotonicMs()) return known.shards;
    let asked = this.#asked.get(topic);
    if (!asked) {
      asked = this.#ask(topic).finally(() => this.#asked.delete(topic));
      this.#asked.set(topic, asked);
    }
    return asked;
  }

  learn(topic: string, shards: number): void {
    this.#known.set(topic, { shards, untilMs: Infinity });
  }

  async #ask(topic: string): Promise<number> {
    const meta = this.#names.meta(topic);
    const value = await this.#link.ask(`cannot look at topic "${topic}"`, (client) => client.hget(meta, "shards"));
    const shards = Number(textOf(value));
    if (shards > 0) this.learn(topic, shards);
    else this.#known.set(topic, { shards: 1, untilMs: this.#runtime.monotonicMs() + unknownMs });
    return Math.max(1, shards);
  }
}
