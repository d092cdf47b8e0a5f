import type { DeadLetterSource, Delivery, DriverError, Receiver, SettleResult, Settlement } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import { fromEntry } from "./record.ts";
import { entriesOf } from "./replies.ts";
import { settled } from "./waiting.ts";

export interface LettersParts {
  readonly link: Link;
  readonly source: DeadLetterSource;
  readonly stream: string;
}

/** Reads letters between two ids, without taking them. @throws DriverError */
export async function readLetters(
  { link, source, stream }: LettersParts,
  after: string | undefined,
  until: string,
  max: number,
): Promise<readonly Delivery[]> {
  const from = after === undefined ? "-" : `(${after}`;
  const answer = await link.ask(`cannot read "${stream}"`, (client) =>
    client.xrangeBuffer(stream, from, until, "COUNT", max),
  );
  return entriesOf(answer).flatMap((entry) => {
    if (!entry.fields) return [];
    const origin = { source, stream, shard: "", deliveries: undefined, fence: undefined };
    return [fromEntry(entry.id, entry.fields, origin)];
  });
}

/** The id of the entry that a letter was read from. */
export function entryIdOf({ native }: Delivery): string {
  return typeof native === "object" && native !== null && "id" in native ? String(native.id) : "";
}

/**
 * What was there at opening. Nothing is locked: two redrives at once make the same copies, which are stored once, and only one of them
 * deletes the letter.
 */
export class DeadLetterReceiver implements Receiver {
  readonly lease: undefined;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: LettersParts;
  readonly #until: string | undefined;
  readonly #inHand = new Set<Delivery>();
  readonly #window: number;
  #after: string | undefined;
  #ended: boolean;
  #room: (() => void) | undefined;

  private constructor(parts: LettersParts, until: string | undefined, window: number) {
    this.#parts = parts;
    this.#until = until;
    this.#window = window;
    this.#ended = until === undefined;
    this.closed = this.#settled.promise;
    void parts.link.closed.then((reason) => this.#settled.resolve(reason));
  }

  static async open(parts: LettersParts, window: number): Promise<DeadLetterReceiver> {
    const { link, stream } = parts;
    const last = await link.ask(`cannot read "${stream}"`, (client) =>
      client.xrevrangeBuffer(stream, "+", "-", "COUNT", 1),
    );
    return new DeadLetterReceiver(parts, entriesOf(last)[0]?.id, window);
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[] | undefined> {
    while (!this.#ended && !signal.aborted) {
      const room = Math.min(max, this.#window - this.#inHand.size);
      if (room <= 0) {
        await new Promise<void>((resolve) => {
          this.#room = resolve;
          signal.addEventListener("abort", () => resolve(), { once: true });
        });
        continue;
      }
      const letters = await readLetters(this.#parts, this.#after, this.#until ?? "+", room);
      if (letters.length < room) this.#ended = true;
      const last = letters.at(-1);
      if (!last) break;
      this.#after = entryIdOf(last);
      for (const letter of letters) this.#inHand.add(letter);
      return letters;
    }
    return signal.aborted && !this.#ended ? [] : undefined;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const { link, stream } = this.#parts;
    const results = settlements.map(async ({ delivery, accept }): Promise<SettleResult> => {
      if (!this.#inHand.delete(delivery)) return "lost";
      // Nothing was taken: one that is released is still there.
      if (!accept) return "durable";
      const deleted = await link.ask(`cannot settle in "${stream}"`, (client) =>
        client.xdel(stream, entryIdOf(delivery)),
      );
      return deleted === 1 ? "durable" : "lost";
    });
    const answers = await Promise.allSettled(results);
    this.#room?.();
    return answers.map((each) => (each.status === "fulfilled" ? each.value : "lost"));
  }

  async flush(_signal: AbortSignal): Promise<void> {
    // Every settlement is answered by the server before `settle` resolves.
  }

  async stop(_signal: AbortSignal): Promise<void> {
    this.#ended = true;
    this.#room?.();
  }

  async close(signal: AbortSignal): Promise<void> {
    await this.stop(signal);
    this.#inHand.clear();
    this.#settled.resolve(undefined);
  }
}
