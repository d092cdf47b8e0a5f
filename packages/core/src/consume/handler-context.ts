import type { Context } from "../context.ts";
import { type Delivery, type Headers, type SendItem, emptyHeaders, wire } from "../driver/index.ts";
import type { Duration } from "../duration.ts";
import { SluiceError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Message } from "../message.ts";
import {
  type DeadLetterOutcome,
  type DeferOutcome,
  type DropOutcome,
  type Outcome,
  outcome,
  type RetryOutcome,
} from "../outcome.ts";
import type { PublishOptions, Receipt } from "../publish/options.ts";
import type { AnyTopic, Topic } from "../topic.ts";
import { count, type Work } from "./work.ts";

/** What a context needs from its subscription. */
export interface ContextHost {
  readonly timeoutMs: number;
  readonly group: string;
  readonly batch: boolean;
  readonly logger: Logger;
  wallMs(): number;
  monotonicMs(): number;
  /** `join`: takes the item into a transaction instead of sending it. */
  publish(
    topic: AnyTopic,
    payload: unknown,
    options: PublishOptions | undefined,
    cause: Context,
    join?: (item: SendItem) => void,
  ): Promise<Receipt>;
  readonly transactional: boolean;
}

/** The one context of a delivered message in this process: middleware adds to it, every run sees it. */
export class HandlerContext implements Context {
  readonly #work: Work;
  readonly #host: ContextHost;
  #message: Message | undefined;
  #controller: AbortController | undefined;
  #aborted: SluiceError | undefined;
  #log: Logger | undefined;
  #runs = 0;
  /** Outcomes made by the current run. */
  made: Outcome | undefined = undefined;

  constructor(work: Work, host: ContextHost) {
    this.#work = work;
    this.#host = host;
  }

  /** A fresh view per run: what a failed handler changed is not seen by the next. */
  get message(): Message {
    return (this.#message ??= messageOf(this.#work));
  }

  get group(): string {
    return this.#host.group;
  }

  get shard(): string {
    return this.#work.delivery.shard;
  }

  get batch(): boolean {
    return this.#host.batch;
  }

  get transactional(): boolean {
    return this.#host.transactional;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#aborted);
    }
    return this.#controller.signal;
  }

  get deadline(): Date | undefined {
    const { timeoutMs } = this.#host;
    if (!timeoutMs) return undefined;
    return new Date(this.#host.wallMs() + this.#work.startedMs + timeoutMs - this.#host.monotonicMs());
  }

  get fence(): bigint | undefined {
    return this.#work.delivery.fence;
  }

  get native(): unknown {
    return this.#work.delivery.native;
  }

  get log(): Logger {
    return (this.#log ??= bind(this.#host.logger, {
      topic: this.#work.topic.name,
      group: this.#host.group,
      messageId: this.#work.id,
    }));
  }

  publish<Input, Output>(target: Topic<Input, Output>, payload: Input, options?: PublishOptions): Promise<Receipt> {
    if (!this.#host.transactional) return this.#host.publish(target, payload, options, this);
    const run = this.#runs;
    return this.#host.publish(target, payload, options, this, (item) => {
      if (run === this.#runs && (this.#work.state === "running" || this.#work.state === "unwrapping")) {
        return this.#work.publish(item);
      }
      const text = `sluice: message ${item.record.id} to "${target.name}" cannot join a transaction that has ended; await the publish in the handler`;
      throw new SluiceError("CLOSED", text, { outcome: "not-stored" });
    });
  }

  retry(options?: { readonly delay?: Duration; readonly reason?: string }): RetryOutcome {
    return this.#make(outcome.retry(options));
  }

  defer(delay: Duration, reason?: string): DeferOutcome {
    return this.#make(outcome.defer(delay, reason));
  }

  deadLetter(reason: string): DeadLetterOutcome {
    return this.#make(outcome.deadLetter(reason));
  }

  drop(reason: string): DropOutcome {
    return this.#make(outcome.drop(reason));
  }

  #make<O extends Outcome>(made: O): O {
    this.made = made;
    return made;
  }

  /** The delivery itself, for what runs inside the engine. */
  get delivery(): Delivery {
    return this.#work.delivery;
  }

  /** A new run begins. */
  begin(): void {
    this.#runs++;
    this.#work.forgetPublished();
    this.#message = undefined;
    this.made = undefined;
    if (this.#controller?.signal.aborted) this.#controller = undefined;
    this.#aborted = undefined;
  }

  abort(reason: SluiceError): void {
    this.#aborted ??= reason;
    this.#controller?.abort(reason);
  }

  /** The error of a run that made an outcome and did not return it. */
  unused(returned: unknown): SluiceError | undefined {
    if (this.made === undefined || returned === this.made) return undefined;
    return new SluiceError(
      "OUTCOME_UNUSED",
      `sluice: the handler of topic "${this.#work.topic.name}" made the outcome "${this.made.kind}" and did not return it; ` +
        `write: return context.${this.made.kind === "dead-letter" ? "deadLetter" : this.made.kind}(…)`,
    );
  }
}

/**
 * What is wrong with a run that made an outcome and returned something else; `undefined` when nothing is. The engine fails such a
 * run; a wrapper of handlers asks before it commits anything.
 */
export function unusedOutcome(context: Context, returned: unknown): SluiceError | undefined {
  // n.b. by its member: the wrapper may have come with a copy of this package of its own.
  const known = "unused" in context && typeof context.unused === "function";
  return known ? (context as HandlerContext).unused(returned) : undefined;
}

function messageOf(work: Work): Message {
  const { delivery } = work;
  return {
    topic: work.topic.name,
    id: work.id,
    key: delivery.key,
    headers: Object.assign<Headers, Headers>(emptyHeaders(), delivery.headers),
    time: delivery.time === undefined ? undefined : new Date(delivery.time),
    attempt: work.attempt,
    deliveries: delivery.deliveries,
    redrives: count(delivery.headers[wire.redrives]),
  };
}

function bind(logger: Logger, fixed: object): Logger {
  return {
    debug: (fields, message) => logger.debug({ ...fixed, ...fields }, message),
    info: (fields, message) => logger.info({ ...fixed, ...fields }, message),
    warn: (fields, message) => logger.warn({ ...fixed, ...fields }, message),
    error: (fields, message) => logger.error({ ...fixed, ...fields }, message),
  };
}
