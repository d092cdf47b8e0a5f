import { type Message, SendMessageCommand } from "@aws-sdk/client-sqs";
import {
  type Delivery,
  type DriverError,
  type DriverEvent,
  type Filter,
  type SendItem,
  type SendResult,
  wire,
} from "@sluice/core/driver";
import { timed } from "./call.ts";
import { holdMs, longestDelayMs } from "./delays.ts";
import { translate } from "./errors.ts";
import { movedLetter } from "./moved-letters.ts";
import type { Line } from "./polls.ts";
import { matches } from "./policy.ts";
import { fromNative, type Received } from "./record.ts";
import { deleteAll, type Handled, hideAll, type SettleParts } from "./settlements.ts";

export interface IncomingParts extends SettleParts {
  report(event: DriverEvent): void;
  /** Stores copies in the queues of groups. */
  send(items: readonly SendItem[]): Promise<readonly SendResult[]>;
}

/** To be sent once more, and deleted then. */
interface Again extends Handled {
  readonly copy: SendItem;
}

/** A message for core, with what is needed to settle it. */
export interface Incomer {
  readonly delivery: Delivery;
  readonly handle: string;
}

/** Looks at what polls bring: most of it is for core, some has to wait on, some was not wanted. */
export class Incoming {
  readonly #parts: IncomingParts;
  readonly #underway = new Set<Promise<unknown>>();

  constructor(parts: IncomingParts) {
    this.#parts = parts;
  }

  /** Those for core, in order. `all`: nothing is sorted out, because everything goes back. */
  sort(line: Line, messages: readonly Message[], all: boolean): Incomer[] {
    const incomers: Incomer[] = [];
    const unwanted: { readonly line: Line; readonly handle: string }[] = [];
    const letters: Again[] = [];
    for (const message of messages) {
      const handle = message.ReceiptHandle ?? "";
      const received = fromNative(message);
      if (!all && this.#waitsOn(line, received)) this.#track(this.#hop(line, message, received.notBefore ?? 0));
      else if (!all && isUnwanted(line, received)) unwanted.push({ line, handle });
      else {
        const delivery = received.delivery(line.source, shardOf(line, message));
        const letter = movedLetter(line, message, delivery, this.#parts.runtime);
        if (!all && letter?.again) letters.push({ line, handle, copy: letter.again });
        else incomers.push({ handle, delivery: letter?.delivery ?? delivery });
      }
    }
    if (letters.length > 0) this.#track(this.#sendAgain(line, letters));
    if (unwanted.length > 0) this.#track(deleteAll(this.#parts, unwanted));
    return incomers;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#underway);
  }

  /** The queue's delay is over, the message's is not. Out of the waiting place everything goes to core, which sends it on. */
  #waitsOn({ source, queue }: Line, { notBefore }: Received): boolean {
    if ("delayed" in source || queue.fifo || notBefore === undefined) return false;
    return notBefore > this.#parts.runtime.wallMs();
  }

  /**
   * The next delay: a copy, then the original goes. n.b. Hiding the message for longer would be simpler; but what is hidden counts
   * as in flight, of which a queue allows a limited number.
   */
  async #hop(line: Line, message: Message, notBefore: number): Promise<void> {
    const original = { line, handle: message.ReceiptHandle ?? "" };
    const error = await this.#sendOn(line, message, notBefore);
    if (!error) {
      const deleted = await deleteAll(this.#parts, [original]);
      // n.b. One that stays would be sent on again with every receipt, and each copy of it too.
      if (deleted.get(original) === "unknown") await this.#hide(original, notBefore, holdMs);
      return;
    }
    // n.b. It stays, and every receipt counts towards the dead letters: the next one is when it is due, or when waiting may have helped.
    await this.#hide(original, notBefore, error.retryable ? longestDelayMs : holdMs);
    if (error.code === "FORBIDDEN") this.#parts.forbidden?.(error);
    else this.#parts.report({ kind: "throttled", source: line.source, detail: error.message });
  }

  async #sendOn(line: Line, message: Message, notBefore: number): Promise<DriverError | undefined> {
    const { clients, runtime } = this.#parts;
    const waitMs = Math.min(notBefore - runtime.wallMs(), longestDelayMs);
    const doing = `cannot delay a message in queue "${line.queue.name}"`;
    try {
      const command = new SendMessageCommand({
        QueueUrl: line.queue.url,
        MessageBody: message.Body,
        MessageAttributes: message.MessageAttributes,
        DelaySeconds: Math.max(0, Math.ceil(waitMs / 1_000)),
      });
      await timed({ runtime, doing }, (options) => clients.sends.sqs.send(command, options));
      return undefined;
    } catch (error) {
      return translate(error, doing);
    }
  }

  async #hide(original: Handled, notBefore: number, mostMs: number): Promise<void> {
    const ms = Math.min(notBefore - this.#parts.runtime.wallMs(), mostMs);
    await hideAll(this.#parts, [original], Math.max(1, Math.ceil(ms / 1_000)));
  }

  /** n.b. What cannot be sent stays, and comes again when its lease has ended. */
  async #sendAgain({ source }: Line, letters: readonly Again[]): Promise<void> {
    const results = await this.#parts.send(letters.map(({ copy }) => copy));
    const stored = letters.filter((_, index) => results[index]?.outcome === "stored");
    if (stored.length > 0) await deleteAll(this.#parts, stored);
    const failed = results.find((result) => result.outcome !== "stored");
    if (failed?.error.code === "FORBIDDEN") this.#parts.forbidden?.(failed.error);
    else if (failed) this.#parts.report({ kind: "throttled", source, detail: failed.error.message });
  }

  #track(work: Promise<unknown>): void {
    this.#underway.add(work);
    void work.finally(() => this.#underway.delete(work));
  }
}

/** n.b. A filter is the topic's, not the own entry's: copies of ours (they have a hop) passed it once. */
function isUnwanted({ source }: Line, { headers }: Received): boolean {
  const filter: Filter | undefined = "filter" in source ? source.filter : undefined;
  return filter !== undefined && headers[wire.hop] === undefined && !matches(filter, headers);
}

function shardOf({ queue }: Line, { Attributes }: Message): string {
  return queue.fifo ? `${queue.name}/${Attributes?.MessageGroupId ?? ""}` : "";
}
