import type { Delivery } from "@sluice/core/driver";

/** How long the waiting place keeps what nobody settles. */
export const waitingRetentionMs: number = 7 * 86_400_000;

/**
 * When a record may leave its waiting place: when it is due, or when it has waited so long that the broker might forget it. Then a copy
 * of it waits on.
 */
export function leavesAt(notBefore: number, publishedMs: number): number {
  return Math.min(notBefore, publishedMs + waitingRetentionMs / 2);
}

interface Entry {
  readonly delivery: Delivery;
  /** Wall milliseconds; 0: at once. */
  readonly due: number;
}

/** What has arrived and waits to be handed out: first come, first served; with due times the one that is due first, once it is. */
export class Inbox {
  readonly #entries: Entry[] = [];

  get size(): number {
    return this.#entries.length;
  }

  push(delivery: Delivery, due = 0): void {
    let at = this.#entries.length;
    while (at > 0 && (this.#entries[at - 1]?.due ?? 0) > due) at--;
    this.#entries.splice(at, 0, { delivery, due });
  }

  /** The next one that may go, at this wall time. */
  shift(wallMs: number): Delivery | undefined {
    const [first] = this.#entries;
    return first && first.due <= wallMs ? this.#entries.shift()?.delivery : undefined;
  }

  /** Milliseconds until the next one may go; `undefined`: there is none. */
  nextMs(wallMs: number): number | undefined {
    const [first] = this.#entries;
    return first && Math.max(0, first.due - wallMs);
  }

  drain(): readonly Delivery[] {
    return this.#entries.splice(0).map(({ delivery }) => delivery);
  }
}
