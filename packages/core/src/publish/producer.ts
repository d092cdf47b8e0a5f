import type { Capabilities, SendItem } from "../driver/index.ts";
import { type Duration, milliseconds } from "../duration.ts";
import { SluiceError } from "../errors.ts";
import { events } from "../events.ts";
import { compose, type Draft, type PublishMiddleware } from "../middleware.ts";
import type { AnyTopic, Topic } from "../topic.ts";
import type { QueueResult } from "./entry.ts";
import { withOutcome } from "./failure.ts";
import { Gate, type Waiting } from "./gate.ts";
import type {
  BatchEntry,
  BatchResult,
  PublishArguments,
  PublishOptions,
  Receipt,
  SendBatchArguments,
  SendBatchOptions,
} from "./options.ts";
import { Preparation } from "./preparation.ts";
import { draft, type Outgoing, type RecordPort, toItem } from "./record.ts";
import type { SendQueue } from "./send-queue.ts";

/** What a producer needs of the bus. */
export interface ProducerPort extends RecordPort {
  readonly queue: Pick<SendQueue, "enqueue">;
  readonly middleware: readonly PublishMiddleware[];
  /** The bus's `publish.deadline`. */
  readonly deadlineMs: number;
  /** Makes sure that the topic exists on the broker; `undefined` once it does. `delayed`: it needs its waiting place. */
  prepare?(topic: AnyTopic, delayed: boolean): Promise<void> | undefined;
  /** A publish that has not reached the queue yet: a drain waits for it. */
  pending?(receipt: Promise<Receipt>): void;
}

/** One message on its way: what the two ends of the middleware chain share. */
interface Publishing {
  readonly message: Draft;
  readonly options: PublishOptions;
  /** Monotonic milliseconds of the call. */
  readonly nowMs: number;
  readonly deadlineMs: number;
  /** Takes the item into a transaction instead of sending it. */
  readonly join: ((item: SendItem) => void) | undefined;
  receipt: Receipt | undefined;
}

/** Why a message is published, where there is more to say than that somebody called. */
type Origin = Partial<Pick<Draft, "cause" | "batch">>;

const plain: Origin = {};

/** Publishes to one topic. Keep it: `bus.publish` looks it up each time. */
export class Producer<Input = unknown, Output = Input, C extends Capabilities = Capabilities> {
  readonly topic: Topic<Input, Output>;
  readonly #port: ProducerPort;
  /** Undefined without middleware: nothing is wrapped then. */
  readonly #chain: ((publishing: Publishing) => Promise<void>) | undefined;
  readonly #preparation: Preparation | undefined;
  readonly #gate: Gate;
  /** Behind the middleware: a codec that takes its time does not let later messages pass. */
  readonly #encoding: Gate;

  constructor(topic: Topic<Input, Output>, port: ProducerPort) {
    this.topic = topic;
    this.#port = port;
    this.#gate = new Gate(port.runtime);
    this.#encoding = new Gate(port.runtime);
    if (port.prepare) this.#preparation = new Preparation((delayed) => port.prepare?.(topic, delayed), port.runtime);
    if (port.middleware.length > 0) this.#chain = this.#compose(port.middleware);
  }

  /**
   * Publishes one message; resolves on the broker's confirmation.
   *
   * @throws SluiceError with `outcome`: `not-stored` is certain, `unknown` may be stored. `INVALID_PAYLOAD`, `INVALID_MESSAGE`,
   * `TOO_LARGE`, `UNSUPPORTED`, `CONFIG` before anything is sent; `UNROUTABLE` when nobody keeps it; `TIMEOUT`, `UNAVAILABLE`,
   * `REFUSED` or `BACKPRESSURE` at the deadline; `ABORTED` by the signal; `CLOSED`; `UNAUTHORIZED`, `FORBIDDEN`, `NOT_FOUND` and
   * others as the broker answers.
   */
  send(payload: Input, ...[options]: PublishArguments<C>): Promise<Receipt> {
    // The conditional options only forbid; what is left is a subset of all options.
    return this.publish(payload, (options ?? {}) as PublishOptions);
  }

  /**
   * Publishes many messages, each on its own: one that fails does not hold up the others. Results come in the order of the entries.
   * @throws SluiceError `CONFIG` when the call itself is wrong
   */
  async sendBatch(
    entries: readonly BatchEntry<Input, C>[],
    ...[options = {} as SendBatchOptions<C>]: SendBatchArguments<C>
  ): Promise<readonly BatchResult[]> {
    if (!Array.isArray(entries)) {
      throw withOutcome(new SluiceError("CONFIG", `sluice: sendBatch takes an array of { payload, options }`));
    }
    // A wrong deadline is a fault of the call, not of each message.
    this.#dueAt(0, options.deadline);
    const ended = Promise.withResolvers<unknown>();
    const batch = { size: entries.length, settled: ended.promise };
    const results = await Promise.all(
      entries.map((entry: BatchEntry<Input, C>) =>
        this.publish(entry.payload, { ...(entry.options as PublishOptions), ...options }, { batch }).then(
          (receipt): BatchResult => ({ status: "sent", receipt }),
          (error: unknown): BatchResult => ({ status: "failed", error: withOutcome(error) }),
        ),
      ),
    );
    ended.resolve(undefined);
    return results;
  }

  /** `send` for the bus: with the delivery whose handler publishes, or the batch, if any. */
  publish(
    payload: Input,
    options: PublishOptions,
    origin: Origin = plain,
    join?: (item: SendItem) => void,
  ): Promise<Receipt> {
    const { id = this.#port.runtime.id() } = options;
    const receipt = this.#publish(id, payload, options, origin, join);
    if (events.published.hasSubscribers || events.publishFailed.hasSubscribers) this.#tell(id, receipt);
    return receipt;
  }

  #publish(
    id: string,
    payload: Input,
    options: PublishOptions,
    { cause, batch }: Origin,
    join: Publishing["join"],
  ): Promise<Receipt> {
    try {
      const nowMs = this.#port.runtime.monotonicMs();
      const deadlineMs = this.#dueAt(nowMs, options.deadline);
      const message = draft(this.topic, id, payload, options, this.#port, cause, batch);
      const delayed = options.delay !== undefined || options.deliverAt !== undefined;
      const prepared = this.#preparation?.ready(delayed, deadlineMs);
      if (prepared === undefined && !this.#gate.busy && !(message instanceof Promise)) {
        return this.#start({ message, options, nowMs, deadlineMs, join, receipt: undefined });
      }
      const waiting = this.#waiting(id, deadlineMs, options.signal);
      const receipt = this.#gate.enter(Promise.all([message, prepared]), waiting, ([known]) =>
        this.#start({ message: known, options, nowMs, deadlineMs, join, receipt: undefined }),
      );
      this.#port.pending?.(receipt);
      return receipt;
    } catch (error) {
      return Promise.reject(withOutcome(error));
    }
  }

  #start(publishing: Publishing): Promise<Receipt> {
    const { message } = publishing;
    if (!this.#chain) return this.#encode(publishing);
    return this.#chain(publishing).then(() => {
      if (publishing.receipt) return publishing.receipt;
      const text = `${this.#port.driver}: message ${message.id} to "${this.topic.name}" was not sent: a middleware did not call next()`;
      throw new SluiceError("ABORTED", text, { outcome: "not-stored" });
    });
  }

  #compose(middleware: readonly PublishMiddleware[]): (publishing: Publishing) => Promise<void> {
    const onPublishing = middleware.map((each) => {
      const wrapped = (publishing: Publishing, next: () => Promise<void>) => each(publishing.message, next);
      return Object.defineProperty(wrapped, "name", { value: each.name });
    });
    return compose<Publishing, void>(onPublishing, async (publishing) => {
      publishing.receipt = await this.#encode(publishing);
    });
  }

  #encode(publishing: Publishing): Promise<Receipt> {
    const { message, options, deadlineMs } = publishing;
    const outgoing = toItem(message, options, this.#port);
    if (!(outgoing instanceof Promise) && !this.#encoding.busy) return this.#enqueue(outgoing, publishing);
    const waiting = this.#waiting(message.id, deadlineMs, options.signal);
    const receipt = this.#encoding.enter(Promise.resolve(outgoing), waiting, (ready) =>
      this.#enqueue(ready, publishing),
    );
    this.#port.pending?.(receipt);
    return receipt;
  }

  #waiting(id: string, deadlineMs: number, signal: AbortSignal | undefined): Waiting {
    return { what: `${this.#port.driver}: publishing message ${id} to "${this.topic.name}"`, deadlineMs, signal };
  }

  #enqueue({ item, bytes }: Outgoing, { options, nowMs, deadlineMs, join }: Publishing): Promise<Receipt> {
    const { key, id } = item.record;
    return new Promise((resolve, reject) => {
      if (join) {
        join(item);
        return resolve({ id, routed: true, native: undefined });
      }
      this.#port.queue.enqueue(item, {
        orderedKey: this.topic.ordering === "key" && key !== null ? laneOf(key) : undefined,
        deadlineMs,
        nowMs,
        signal: options.signal,
        bytes,
        onSettled: (result) => this.#settled(id, result, resolve, reject),
      });
    });
  }

  #settled(
    id: string,
    result: QueueResult,
    resolve: (receipt: Receipt) => void,
    reject: (error: SluiceError) => void,
  ): void {
    if (result.outcome === "stored") resolve({ id, routed: true, native: result.native });
    else if (result.outcome === "unroutable" && this.topic.unrouted === "allow") {
      resolve({ id, routed: false, native: undefined });
    } else reject(result.error);
  }

  #tell(id: string, receipt: Promise<Receipt>): void {
    const { system } = this.#port;
    const topic = this.topic.name;
    receipt.then(
      ({ routed }) => events.published.publish({ system, topic, id, routed }),
      (error: unknown) => events.publishFailed.publish({ system, topic, id, error: withOutcome(error) }),
    );
  }

  #dueAt(nowMs: number, deadline: Duration | undefined): number {
    return nowMs + (deadline === undefined ? this.#port.deadlineMs : milliseconds(deadline, "deadline of a publish"));
  }
}

/** One lane per key, whether it is text or bytes. */
function laneOf(key: string | Uint8Array): string {
  return typeof key === "string" ? key : `\n${Buffer.from(key).toString("base64")}`;
}
