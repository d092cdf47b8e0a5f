import type { protos } from "@google-cloud/pubsub";
import { DriverError } from "@sluice/core/driver";
import type { Calls } from "./channels.ts";
import { status, statusOf } from "./errors.ts";
import { methods } from "./methods.ts";
import { shortName } from "./names.ts";

export type NativeMessage = protos.google.pubsub.v1.IPubsubMessage;

/** The id that the service gave a message, or why it has none. `stored`: nobody can tell whether it is there. */
export type Published = { readonly messageId: string } | { readonly error: DriverError; readonly unknown: boolean };

/** Why nobody would keep a message of the topic; `undefined`: somebody does. */
type Check = (signal: AbortSignal) => Promise<DriverError | undefined>;

interface Job {
  readonly topic: string;
  readonly check: Check;
  readonly messages: readonly NativeMessage[];
  readonly signal: AbortSignal;
  done(results: readonly Published[]): void;
}

/** Requests under way at once: what one socket takes beside acknowledgements. */
const mostRequests = 64;

/**
 * Publishes messages of one topic and one ordering key per request, as the service wants it, with one request of a key under way:
 * two that overtake each other would be stored in that order. What is queued behind a failed one of its key is not sent.
 */
export class Publisher {
  readonly #channels: Calls;
  /** Ordering keys with a request under way, and what waits behind it. */
  readonly #lanes = new Map<string, Job[]>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(channels: Calls) {
    this.#channels = channels;
  }

  /** One result per message, in order. All have the same topic and ordering key. Never rejects. */
  publish(
    topic: string,
    messages: readonly NativeMessage[],
    check: Check,
    signal: AbortSignal,
  ): Promise<readonly Published[]> {
    return new Promise((done) => {
      const job = { topic, messages, check, signal, done };
      const key = messages[0]?.orderingKey ?? "";
      if (key === "") return void this.#attempt(job).then(done);
      const lane = `${topic} ${key}`;
      const queue = this.#lanes.get(lane);
      if (queue) return void queue.push(job);
      this.#lanes.set(lane, [job]);
      void this.#runLane(lane);
    });
  }

  async #runLane(lane: string): Promise<void> {
    const queue = this.#lanes.get(lane) ?? [];
    for (let job = queue[0]; job; job = queue[0]) {
      const results = await this.#attempt(job);
      queue.shift();
      const failed = results.find((result) => "error" in result);
      if (failed) {
        // n.b. taken off before anybody is told: who tries again at once must not land in this queue.
        const behind = queue.splice(0);
        this.#lanes.delete(lane);
        job.done(results);
        for (const other of behind) other.done(other.messages.map(() => notSent(failed.error)));
        return;
      }
      job.done(results);
    }
    this.#lanes.delete(lane);
  }

  async #attempt(job: Job): Promise<readonly Published[]> {
    while (this.#running >= mostRequests) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    try {
      // n.b. asked here, in the key's turn: an answer that comes late must not change the order.
      const error = await job.check(job.signal);
      if (error) return job.messages.map(() => ({ error, unknown: false }));
      return await this.#send(job, job.messages);
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  async #send(job: Job, messages: readonly NativeMessage[]): Promise<readonly Published[]> {
    const doing = `cannot publish to topic "${shortName(job.topic)}"`;
    if (job.signal.aborted) {
      const error = new DriverError("ABORTED", `google-pubsub: ${doing}: the caller's signal aborted`);
      return messages.map(() => ({ error, unknown: false }));
    }
    try {
      const request = { topic: job.topic, messages: [...messages] };
      const { messageIds } = await this.#channels.call(methods.publish, request, { doing, signal: job.signal });
      return messages.map((_, index) => ({ messageId: messageIds[index] ?? "" }));
    } catch (error) {
      const failure = error instanceof DriverError ? error : new DriverError("UNKNOWN", doing, { cause: error });
      // One message that the service does not take makes it refuse the whole request.
      if (statusOf(failure) === status.invalidArgument && messages.length > 1) return this.#split(job, messages);
      return messages.map(() => ({ error: failure, unknown: !certainlyNotStored(failure) }));
    }
  }

  async #split(job: Job, messages: readonly NativeMessage[]): Promise<readonly Published[]> {
    const middle = Math.ceil(messages.length / 2);
    const first = await this.#send(job, messages.slice(0, middle));
    const failed = first.find((result) => "error" in result);
    const rest = messages.slice(middle);
    if (failed && (messages[0]?.orderingKey ?? "") !== "") return [...first, ...rest.map(() => notSent(failed.error))];
    return [...first, ...(await this.#send(job, rest))];
  }
}

function notSent(cause: DriverError): Published {
  const text = "google-pubsub: not sent, because an earlier message of its key was not stored";
  return { error: new DriverError("UNAVAILABLE", text, { retryable: true, cause }), unknown: false };
}

const refusals: ReadonlySet<number | undefined> = new Set([
  status.invalidArgument,
  status.notFound,
  status.permissionDenied,
  status.resourceExhausted,
  status.failedPrecondition,
  status.outOfRange,
  status.unimplemented,
  status.unauthenticated,
]);

function certainlyNotStored(error: DriverError): boolean {
  const code = statusOf(error);
  if (refusals.has(code)) return true;
  // gRPC's own words for a request that never left.
  return code === status.unavailable && /No connection established|Name resolution failed/.test(error.message);
}
