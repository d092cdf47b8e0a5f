import type { Capabilities, Delivery } from "../driver/index.ts";
import { handOuts } from "./work.ts";

/** Handed out this often, a message may be what kills the processes that hold it. */
const suspectAt = 3;
/** So many harmless ones in a row, and the quarantine is over. */
const calmAfter = 32;

/**
 * Finds the message that kills its process. The broker's count is raised for everything that was held when a process died, so it
 * accuses neighbours too: suspects are therefore run alone, with a window of one, and only the one that comes back from that is
 * guilty. What is given back in order must not raise the count; where the broker raises it all the same, a copy goes back instead,
 * with the count so far in a header.
 */
export class Quarantine {
  readonly #counted: boolean;
  readonly #convictAt: number;
  #calm = 0;
  /** Suspects that ran alone in this process, which lives: what came back to it was lost, by lease or connection. */
  readonly #survived = new Set<string>();
  /** The receiver has a window of one. */
  on = false;

  constructor(capabilities: Capabilities, ordered: boolean) {
    this.#counted = capabilities.deliveries !== "absent";
    const { release } = capabilities;
    // More where returns count: what the driver had in hand when the receiver closed is raised by one, innocent or not; and so is
    // what a request gets that outlives its dead process.
    // An ordered message goes back by closing its channel where a release would lose the order: that counts, and cannot be helped.
    const counts = release !== "absent" && (release.counted || release.order === "lost");
    if (ordered && counts) this.#convictAt = 15;
    else this.#convictAt = release !== "absent" && release.counted ? 7 : 4;
  }

  suspects(deliveries: readonly Delivery[]): boolean {
    if (!this.#counted) return false;
    return deliveries.some((delivery) => handOuts(delivery) >= suspectAt);
  }

  /** Only while `on`: this one was alone when its process died. */
  guilty(delivery: Delivery): boolean {
    if (delivery.id !== undefined && this.#survived.has(delivery.id)) return false;
    return handOuts(delivery) >= this.#convictAt;
  }

  /** Only while `on`: this one runs now, alone. */
  runs(delivery: Delivery): void {
    if (delivery.id !== undefined && this.suspects([delivery])) this.#survived.add(delivery.id);
  }

  /** Only while `on`: whether it may end, now that this one was taken. `undefined`: nothing is waiting. */
  over(delivery: Delivery | undefined): boolean {
    if (!delivery) return true;
    this.#calm = this.suspects([delivery]) ? 0 : this.#calm + 1;
    return this.#calm >= calmAfter;
  }

  enter(): void {
    this.on = true;
    this.#calm = 0;
  }

  leave(): void {
    this.on = false;
    this.#survived.clear();
  }
}
