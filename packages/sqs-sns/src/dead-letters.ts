import { type Message, ReceiveMessageCommand } from "@aws-sdk/client-sqs";
import type {
  DeadLetterSource,
  Delivery,
  DriverError,
  Receiver,
  ReceiverOptions,
  Runtime,
  Settlement,
  SettleResult,
} from "@sluice/core/driver";
import { call, settled } from "./call.ts";
import type { Clients } from "./clients.ts";
import { holdMs } from "./delays.ts";
import type { FoundQueue } from "./directory.ts";
import { fromNative } from "./record.ts";
import { deleteAll, type Handled, hideAll } from "./settlements.ts";

export interface DeadLetterParts {
  readonly clients: Clients;
  readonly runtime: Runtime;
  readonly source: DeadLetterSource;
  readonly queue: FoundQueue;
  readonly visibilitySeconds: number;
}

interface Letter extends Handled {
  readonly delivery: Delivery;
  readonly leaseUntilMs: number;
}

/** Most letters that one listing fetches; more are not looked at. */
const mostListed = 5_000;
/** Polls in a row that brought nothing new. */
const mostStale = 3;

/**
 * Takes the dead letters that are there, each once. n.b. A queue has no end to read up to: what was put back at its end meanwhile
 * is known by its id, and left alone until the receiver is closed.
 */
export class DeadLetterReceiver implements Receiver {
  readonly lease: { readonly ms: number; readonly renew: false; readonly holdMs: number };
  readonly closed: Promise<DriverError | undefined>;
  readonly #parts: DeadLetterParts;
  readonly #options: ReceiverOptions;
  readonly #settled = settled<DriverError | undefined>();
  readonly #held = new Map<Delivery, Letter>();
  readonly #aside: Letter[] = [];
  readonly #seen = new Set<string>();
  #stale = 0;
  #ended = false;
  #closing: Promise<void> | undefined;

  constructor(parts: DeadLetterParts, options: ReceiverOptions) {
    this.#parts = parts;
    this.#options = options;
    this.lease = { ms: parts.visibilitySeconds * 1_000, renew: false, holdMs };
    this.closed = this.#settled.promise;
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[] | undefined> {
    const room = Math.min(max, this.#options.window - this.#held.size);
    while (!this.#ended && !signal.aborted && room > 0) {
      const letters = await this.#fetch(room);
      const fresh = letters.filter((letter) => this.#isFresh(letter));
      this.#stale = fresh.length > 0 ? 0 : this.#stale + 1;
      if (letters.length === 0 || this.#stale >= mostStale) this.#ended = true;
      if (fresh.length > 0) return fresh.map(({ delivery }) => delivery);
    }
    return this.#ended ? undefined : [];
  }

  async #fetch(max: number): Promise<readonly Letter[]> {
    const untilMs = this.#parts.runtime.monotonicMs() + this.lease.ms;
    const first = await fetchSome(this.#parts, max);
    if (first.length < 10 || max <= 10) return first.map((message) => letterOf(this.#parts, message, untilMs));
    // There are many: three more at once.
    const rooms = [max - 10, max - 20, max - 30].filter((room) => room > 0);
    const more = await Promise.all(rooms.map((room) => fetchSome(this.#parts, room)));
    return [...first, ...more.flat()].map((message) => letterOf(this.#parts, message, untilMs));
  }

  #isFresh(letter: Letter): boolean {
    const id = letter.delivery.id ?? letter.handle;
    const fresh = !this.#seen.has(id);
    this.#seen.add(id);
    if (fresh) this.#held.set(letter.delivery, letter);
    else this.#aside.push(letter);
    return fresh;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const nowMs = this.#parts.runtime.monotonicMs();
    const accepted: Letter[] = [];
    const released: Letter[] = [];
    const ours = settlements.map(({ delivery, accept }) => {
      const letter = this.#held.get(delivery);
      this.#held.delete(delivery);
      if (!letter || letter.leaseUntilMs <= nowMs) return undefined;
      (accept ? accepted : released).push(letter);
      return letter;
    });
    const [deleted, shown] = await Promise.all([deleteAll(this.#parts, accepted), hideAll(this.#parts, released, 0)]);
    return ours.map((letter) => {
      const done = letter && (deleted.get(letter) ?? shown.get(letter)) === "done";
      return done ? "sent" : "lost";
    });
  }

  async flush(): Promise<void> {}

  async stop(): Promise<void> {
    this.#ended = true;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#ended = true;
    await hideAll(this.#parts, [...this.#held.values(), ...this.#aside], 0);
    this.#held.clear();
    this.#settled.resolve(undefined);
  }
}

/** One page of what waits, in the order of arrival. Fetches everything and shows it again: each look counts as a receipt. */
export async function browse(
  parts: DeadLetterParts,
  after: string | undefined,
  max: number,
  signal: AbortSignal,
): Promise<{ readonly deliveries: readonly Delivery[]; readonly next: string | undefined }> {
  const letters = new Map<string, Letter>();
  try {
    while (!signal.aborted && letters.size < mostListed) {
      const some = await fetchSome(parts, 10);
      if (some.length === 0) break;
      for (const message of some) letters.set(positionOf(message), letterOf(parts, message, 0));
    }
  } finally {
    await hideAll(parts, [...letters.values()], 0);
  }
  const rest = [...letters].filter(([position]) => after === undefined || position > after);
  const page = rest.sort(([one], [other]) => (one < other ? -1 : 1)).slice(0, max);
  const next = rest.length > page.length ? page.at(-1)?.[0] : undefined;
  return { deliveries: page.map(([, { delivery }]) => delivery), next };
}

/** n.b. Without waiting, a queue asks only some of its servers: an empty answer would not mean that it is empty. */
async function fetchSome(parts: DeadLetterParts, max: number): Promise<readonly Message[]> {
  const { clients, runtime, queue, visibilitySeconds } = parts;
  const command = new ReceiveMessageCommand({
    QueueUrl: queue.url,
    MaxNumberOfMessages: Math.min(10, max),
    WaitTimeSeconds: 1,
    VisibilityTimeout: visibilitySeconds,
    MessageAttributeNames: ["All"],
    MessageSystemAttributeNames: ["All"],
  });
  const { Messages = [] } = await call({ runtime, doing: `cannot read queue "${queue.name}"` }, (options) =>
    clients.calls.sqs.send(command, options),
  );
  return Messages;
}

function letterOf({ queue, source }: DeadLetterParts, message: Message, leaseUntilMs: number): Letter {
  const delivery = fromNative(message).delivery(source, "");
  const { headers } = delivery;
  // One that the broker itself gave up has none of our headers: say at least why it is there.
  if (headers["dlq-reason"] === undefined) {
    const cause = message.Attributes?.DeadLetterQueueSourceArn;
    headers["dlq-reason"] = "crash-suspect";
    headers["dlq-error-message"] = cause
      ? `dead-lettered by the broker: received ${delivery.deliveries} times from ${cause}`
      : "dead-lettered by the broker: received too often, or not deliverable";
  }
  return { line: { queue }, handle: message.ReceiptHandle ?? "", delivery, leaseUntilMs };
}

/** Sorts by arrival, and is the same at every look. */
function positionOf({ Attributes, MessageId = "" }: Message): string {
  return `${(Attributes?.SentTimestamp ?? "").padStart(14, "0")} ${MessageId}`;
}
