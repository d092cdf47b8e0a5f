import { type Message, SendMessageCommand } from "@aws-sdk/client-sqs";
import { type Delivery, type Filter, type Runtime, wire } from "@sluice/core/driver";
import { timed } from "./call.ts";
import type { Clients } from "./clients.ts";
import { longestDelayMs } from "./delays.ts";
import type { Line } from "./polls.ts";
import { matches } from "./policy.ts";
import { fromNative, type Received } from "./record.ts";
import { deleteAll, hideAll } from "./settlements.ts";

/** A message for core, with what is needed to settle it. */
export interface Incomer {
  readonly delivery: Delivery;
  readonly handle: string;
}

/** Looks at what polls bring: most of it is for core, some has to wait on, some was not wanted. */
export class Incoming {
  readonly #clients: Clients;
  readonly #runtime: Runtime;
  readonly #underway = new Set<Promise<unknown>>();

  constructor(clients: Clients, runtime: Runtime) {
    this.#clients = clients;
    this.#runtime = runtime;
  }

  /** Those for core, in order. `all`: nothing is sorted out, because everything goes back. */
  sort(line: Line, messages: readonly Message[], all: boolean): Incomer[] {
    const incomers: Incomer[] = [];
    const unwanted: { readonly line: Line; readonly handle: string }[] = [];
    for (const message of messages) {
      const handle = message.ReceiptHandle ?? "";
      const received = fromNative(message);
      if (!all && this.#waitsOn(line, received)) this.#track(this.#hop(line, message, received.notBefore ?? 0));
      else if (!all && isUnwanted(line, received)) unwanted.push({ line, handle });
      else incomers.push({ handle, delivery: received.delivery(line.source, shardOf(line, message)) });
    }
    if (unwanted.length > 0) this.#track(deleteAll({ clients: this.#clients, runtime: this.#runtime }, unwanted));
    return incomers;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#underway);
  }

  /** The queue's delay is over, the message's is not. Out of the waiting place everything goes to core, which sends it on. */
  #waitsOn({ source, queue }: Line, { notBefore }: Received): boolean {
    if ("delayed" in source || queue.fifo || notBefore === undefined) return false;
    return notBefore > this.#runtime.wallMs();
  }

  /**
   * The next delay: a copy, then the original goes. n.b. Hiding the message for longer would be simpler; but what is hidden counts
   * as in flight, of which a queue allows a limited number.
   */
  async #hop(line: Line, message: Message, notBefore: number): Promise<void> {
    const parts = { clients: this.#clients, runtime: this.#runtime };
    const handled = [{ line, handle: message.ReceiptHandle ?? "" }];
    const waitMs = Math.min(notBefore - this.#runtime.wallMs(), longestDelayMs);
    try {
      const command = new SendMessageCommand({
        QueueUrl: line.queue.url,
        MessageBody: message.Body,
        MessageAttributes: message.MessageAttributes,
        DelaySeconds: Math.max(0, Math.ceil(waitMs / 1_000)),
      });
      const doing = `cannot delay a message in queue "${line.queue.name}"`;
      await timed({ runtime: this.#runtime, doing }, (options) => this.#clients.sends.sqs.send(command, options));
    } catch {
      // Nobody saw it: it comes again, and is not due then either.
      await hideAll(parts, handled, Math.max(1, Math.min(30, Math.ceil(waitMs / 1_000))));
      return;
    }
    await deleteAll(parts, handled);
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
