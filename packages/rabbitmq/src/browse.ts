import type { ConsumeMessage } from "amqplib";
import { type DeadLetterSource, type Delivery, type Runtime, sleep } from "@sluice/core/driver";
import { type OpenChannel, openChannel } from "./channel.ts";
import { translate } from "./errors.ts";
import type { Link } from "./link.ts";
import { fromNative } from "./record.ts";
import { attempt, bounded, settled } from "./waiting.ts";

export interface BrowseParts {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly signal: AbortSignal;
  readonly source: DeadLetterSource;
  readonly queue: string;
  /** How many wait now. */
  depth(): Promise<number>;
}

export interface Page {
  readonly deliveries: readonly Delivery[];
  /** How many stand before the next page, from the head of the queue. */
  readonly next: string | undefined;
}

/** AMQP's largest prefetch: what lies deeper is not listed. */
const deepest = 65_535;

/**
 * Looks at waiting dead letters and takes nothing: fetches all of them, keeps a page, and returns all at once. n.b. a part alone
 * would come back behind those that were returned earlier, and pages would overlap. Up to 4.2 the broker counts each look as a
 * delivery; the limit of the dead-letter queue is far above that.
 */
export async function browse(parts: BrowseParts, after: string | undefined, max: number): Promise<Page> {
  const { link, runtime, signal, queue } = parts;
  const count = Math.min(deepest, await parts.depth());
  if (count === 0) return { deliveries: [], next: undefined };
  const channel = await openChannel(link, runtime, `cannot read "${queue}"`);
  const scan = new Scan(parts, Number(after ?? 0), max, count);
  try {
    await bounded(scan.run(channel), { runtime, signal, doing: `cannot read "${queue}"` });
  } catch (error) {
    throw translate(error, `cannot read "${queue}"`);
  } finally {
    await channel.close();
  }
  // Returned ones are not back at once: whoever counts or redrives after a look must find them.
  for (let look = 0; look < 50 && !signal.aborted && (await parts.depth()) < scan.seen; look++)
    await sleep(runtime, 10, signal);
  return scan.page;
}

class Scan {
  readonly #parts: BrowseParts;
  readonly #from: number;
  readonly #max: number;
  readonly #count: number;
  readonly #deliveries: Delivery[] = [];
  readonly #complete = settled<void>();
  #last: ConsumeMessage | undefined;
  seen = 0;

  constructor(parts: BrowseParts, from: number, max: number, count: number) {
    this.#parts = parts;
    this.#from = from;
    this.#max = max;
    this.#count = count;
  }

  get page(): Page {
    const end = this.#from + this.#deliveries.length;
    return { deliveries: this.#deliveries, next: end < this.seen ? String(end) : undefined };
  }

  async run({ native }: OpenChannel): Promise<void> {
    const { queue, runtime } = this.#parts;
    await native.prefetch(this.#count, false);
    const { consumerTag } = await native.consume(queue, (message) => this.#look(message));
    // Another reader may have taken some meanwhile: then there is nothing to wait for.
    await attempt(this.#complete.promise, { runtime, doing: "cannot read", ms: 1_000 + this.#count / 10 });
    await native.cancel(consumerTag);
    if (this.#last) native.nack(this.#last, true, true);
  }

  #look(message: ConsumeMessage | null): void {
    if (message === null) return this.#complete.resolve();
    this.#last = message;
    const { source, queue } = this.#parts;
    if (this.seen >= this.#from && this.#deliveries.length < this.#max) {
      this.#deliveries.push(fromNative(message, { source, shard: queue, counts: true }));
    }
    if (++this.seen === this.#count) this.#complete.resolve();
  }
}
