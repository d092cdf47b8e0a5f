import { PublishBatchCommand } from "@aws-sdk/client-sns";
import { SendMessageBatchCommand } from "@aws-sdk/client-sqs";
import { DriverError, type Runtime, type SendItem, type Sender, type SendResult } from "@sluice/core/driver";
import { settled, timed, untilAborted } from "./call.ts";
import { queueBytes } from "./capabilities.ts";
import type { Clients } from "./clients.ts";
import { longestDelayMs } from "./delays.ts";
import type { Directory } from "./directory.ts";
import { storedNothing, translate, translateEntry } from "./errors.ts";
import type { Names } from "./names.ts";
import { deduplicationId, groupId, type NativeRecord, toNative } from "./record.ts";
import { findRoute, type Route } from "./routes.ts";

export interface SenderParts {
  readonly clients: Clients;
  readonly directory: Directory;
  readonly names: Names;
  readonly runtime: Runtime;
  readonly maxMessageBytes: number;
  /** Until when a message for this queue is better not seen, monotonic milliseconds. */
  staleUntilMs(queue: { readonly url: string }): number;
  /** Something can be read now that was sent to a topic, or to the queue with this url. */
  sent(address: string): void;
}

/** One item on its way: which it was in its call, and what goes on the wire. */
interface Entry {
  readonly index: number;
  readonly item: SendItem;
  readonly native: NativeRecord;
}

/** What both services take in one call. */
const batchItems = 10;

/** What a batch answers: entries by our own id, the index. */
interface Answer {
  readonly Successful?:
    | readonly { readonly Id?: string | undefined; readonly MessageId?: string | undefined }[]
    | undefined;
  readonly Failed?:
    | readonly {
        readonly Id?: string | undefined;
        readonly Code?: string | undefined;
        readonly Message?: string | undefined;
        readonly SenderFault?: boolean | undefined;
      }[]
    | undefined;
}

/** Sends to topics by SNS, to the queues of groups by SQS, in batches with a result for each entry. */
export class SqsSnsSender implements Sender {
  readonly closed: Promise<DriverError | undefined>;
  readonly #parts: SenderParts;
  readonly #settled = settled<DriverError | undefined>();
  readonly #abort = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    this.closed = this.#settled.promise;
  }

  send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    const sending = this.#send(items, signal);
    this.#running.add(sending);
    void sending.then(() => this.#running.delete(sending));
    return sending;
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    if (this.#running.size > 0) await untilAborted(signal, Promise.all(this.#running));
    this.#abort.abort();
    await Promise.all(this.#running);
    this.#settled.resolve(undefined);
  }

  async #send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    const results: SendResult[] = [];
    const batches = new Map<string, { readonly route: Route; readonly entries: Entry[] }>();
    for (const [index, item] of items.entries()) {
      try {
        if (signal.aborted || this.#abort.signal.aborted) throw notSent();
        const route = await findRoute(item, this.#parts);
        const native = toNative(item, route.waits);
        this.#checkSize(native, route, item);
        const batch = batches.get(route.address) ?? { route, entries: [] };
        batch.entries.push({ index, item, native });
        batches.set(route.address, batch);
      } catch (error) {
        const reason = translate(error, `cannot send to "${item.to.topic}"`);
        results[index] = { outcome: reason.code === "UNROUTABLE" ? "unroutable" : "not-stored", error: reason };
      }
    }
    const calls = [...batches.values()].flatMap(({ route, entries }) =>
      this.#inCalls(entries, route).map((some) => this.#call(route, some, results, signal)),
    );
    await Promise.all(calls);
    return results;
  }

  #checkSize({ bytes }: NativeRecord, route: Route, { to }: SendItem): void {
    const most = this.#most(route);
    if (bytes <= most) return;
    throw new DriverError(
      "TOO_LARGE",
      `sqs-sns: message to "${to.topic}" has ${bytes} bytes with its attributes, the limit is ${most}; send less, or a reference`,
    );
  }

  #most({ kind }: Route): number {
    return kind === "topic" ? this.#parts.maxMessageBytes : queueBytes;
  }

  /** n.b. A batch above the limit fails as a whole, though each of its entries is below it. */
  #inCalls(entries: readonly Entry[], route: Route): Entry[][] {
    const calls: Entry[][] = [];
    let last: Entry[] = [];
    let bytes = 0;
    for (const entry of entries) {
      bytes += entry.native.bytes;
      if (last.length === 0 || last.length === batchItems || bytes > this.#most(route)) {
        calls.push((last = []));
        ({ bytes } = entry.native);
      }
      last.push(entry);
    }
    return calls;
  }

  async #call(route: Route, entries: readonly Entry[], results: SendResult[], signal: AbortSignal): Promise<void> {
    const doing = `cannot send to ${route.kind} "${route.name}"`;
    const abort = () => stop.abort();
    const stop = new AbortController();
    for (const source of [signal, this.#abort.signal]) source.addEventListener("abort", abort, { once: true });
    try {
      const answer = await timed({ runtime: this.#parts.runtime, doing, signal: stop.signal, ms: 15_000 }, (options) =>
        route.kind === "topic" ? this.#publish(route, entries, options) : this.#enqueue(route, entries, options),
      );
      this.#answered(answer, entries, results, doing);
      // n.b. What is delayed wakes nobody: its queue would be asked in vain.
      const now = entries.find(({ item }) => (item.notBefore ?? 0) <= this.#parts.runtime.wallMs());
      if (now) this.#parts.sent(route.kind === "topic" ? now.item.to.topic : route.address);
    } catch (error) {
      const result = this.#failed(error, route, entries[0]?.item, doing);
      for (const { index } of entries) results[index] = result;
    } finally {
      for (const source of [signal, this.#abort.signal]) source.removeEventListener("abort", abort);
    }
  }

  #publish(route: Route, entries: readonly Entry[], options: { abortSignal: AbortSignal }): Promise<Answer> {
    const command = new PublishBatchCommand({
      TopicArn: route.address,
      PublishBatchRequestEntries: entries.map(({ index, item, native }) => ({
        Id: String(index),
        Message: native.body,
        MessageAttributes: native.attributes as Record<
          string,
          (typeof native.attributes)[string] & { DataType: string }
        >,
        ...fifoOf(route, item),
      })),
    });
    return this.#parts.clients.sends.sns.send(command, options);
  }

  #enqueue(route: Route, entries: readonly Entry[], options: { abortSignal: AbortSignal }): Promise<Answer> {
    const { runtime } = this.#parts;
    const nowMs = runtime.wallMs();
    const least = route.fifo
      ? 0
      : Math.ceil((this.#parts.staleUntilMs({ url: route.address }) - runtime.monotonicMs()) / 1_000);
    const command = new SendMessageBatchCommand({
      QueueUrl: route.address,
      Entries: entries.map(({ index, item, native }) => ({
        Id: String(index),
        MessageBody: native.body,
        MessageAttributes: native.attributes as Record<
          string,
          (typeof native.attributes)[string] & { DataType: string }
        >,
        ...fifoOf(route, item),
        ...delayOf(item, nowMs, least),
      })),
    });
    return this.#parts.clients.sends.sqs.send(command, options);
  }

  #answered(answer: Answer, entries: readonly Entry[], results: SendResult[], doing: string): void {
    for (const { Id, MessageId } of answer.Successful ?? []) {
      results[Number(Id)] = { outcome: "stored", native: MessageId };
    }
    for (const entry of answer.Failed ?? []) {
      const error = translateEntry(entry, doing);
      results[Number(entry.Id)] = { outcome: entry.SenderFault === false ? "unknown" : "not-stored", error };
    }
    for (const { index } of entries) {
      const error = new DriverError("UNKNOWN", `sqs-sns: ${doing}: the answer does not mention it`);
      results[index] ??= { outcome: "unknown", error };
    }
  }

  #failed(error: unknown, route: Route, item: SendItem | undefined, doing: string): SendResult {
    const reason = translate(error, doing);
    const outcome = storedNothing(error) ? "not-stored" : "unknown";
    if (reason.code !== "NOT_FOUND" || item === undefined) return { outcome, error: reason };
    this.#parts.directory.forget(route);
    if (item.to.group === undefined) return { outcome: "not-stored", error: reason };
    return { outcome: "unroutable", error: new DriverError("UNROUTABLE", reason.message, { cause: error }) };
  }
}

function notSent(): DriverError {
  return new DriverError("ABORTED", "sqs-sns: the send was aborted before anything left; send it again");
}

function fifoOf({ kind, fifo, deadLetters }: Route, { record }: SendItem) {
  if (!fifo) return {};
  const id = deduplicationId(record);
  // n.b. Dead letters of one key would hide each other from whoever looks at them: none waits for another.
  const group = kind === "queue" && deadLetters ? id : groupId(record);
  return { MessageGroupId: group, MessageDeduplicationId: id };
}

function delayOf({ notBefore = 0 }: SendItem, nowMs: number, least: number): { DelaySeconds?: number } {
  const seconds = Math.max(least, Math.ceil(Math.min(notBefore - nowMs, longestDelayMs) / 1_000));
  return seconds > 0 ? { DelaySeconds: seconds } : {};
}
