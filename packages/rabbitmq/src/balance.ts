import type { Runtime } from "@sluice/core/driver";
import { type OpenChannel, openChannel } from "./channel.ts";
import type { Lane } from "./lane.ts";
import type { Link } from "./link.ts";

/** Time between two looks, doubled at most by chance so that instances do not act together. */
const everyMs = 3_000;

export interface BalanceParts {
  readonly link: Link;
  readonly runtime: Runtime;
  /** The queues of one group. */
  readonly lanes: readonly Lane[];
  /** The queue that every instance of the group consumes: the broker counts only the active consumer of the others. */
  readonly members: string;
}

/**
 * Spreads the queues of an ordered group over the instances. The broker makes the first consumer of a queue the active one, so the
 * first instance would have them all. Whoever is active on more than its share yields some: finishes what is handed out, closes the
 * channel, and registers again behind those that wait. Without the right to the members queue nothing is spread.
 */
export class Balance {
  readonly #parts: BalanceParts;
  #channel: OpenChannel | undefined;
  #cancel: (() => void) | undefined;
  #ended = false;

  constructor(parts: BalanceParts) {
    this.#parts = parts;
    void this.#join();
  }

  end(): void {
    this.#ended = true;
    this.#cancel?.();
    void this.#channel?.close();
  }

  async #join(): Promise<void> {
    const { link, runtime, members } = this.#parts;
    try {
      this.#channel = await openChannel(link, runtime, `cannot consume "${members}"`);
      await this.#channel.native.consume(members, () => undefined, { noAck: true });
    } catch {
      return; // the queue or the right is missing: the group works, on as many instances as the broker happens to choose
    }
    if (this.#ended) return this.#channel.close();
    this.#schedule();
  }

  #schedule(): void {
    if (this.#ended || !this.#channel?.alive) return;
    const { runtime } = this.#parts;
    this.#cancel = runtime.timer(everyMs * (1 + runtime.random()), () => void this.#look(), { background: true });
  }

  async #look(): Promise<void> {
    const { lanes, members } = this.#parts;
    const active = lanes.filter((lane) => lane.active);
    try {
      const { consumerCount } = (await this.#channel?.native.checkQueue(members)) ?? { consumerCount: 1 };
      const excess = active.length - Math.ceil(lanes.length / Math.max(1, consumerCount));
      if (!this.#ended && excess > 0) for (const lane of idleFirst(active).slice(0, excess)) lane.yield();
    } catch {
      return; // the channel is gone
    }
    this.#schedule();
  }
}

/** Those that interrupt nothing come first. */
function idleFirst(lanes: readonly Lane[]): readonly Lane[] {
  return lanes.toSorted((one, other) => Number(other.idle) - Number(one.idle));
}
