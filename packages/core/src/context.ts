import type { Duration } from "./duration.ts";
import type { SluiceError } from "./errors.ts";
import type { Logger } from "./logger.ts";
import type { Message } from "./message.ts";
import type { DeadLetterOutcome, DeferOutcome, DropOutcome, Outcome, RetryOutcome } from "./outcome.ts";
import type { PublishArguments, Receipt } from "./publish/options.ts";
import type { Capabilities } from "./driver/index.ts";
import type { Topic } from "./topic.ts";

/** What a handler gets beside the payload. One per attempt; nothing in it may be used after the handler ended. */
export interface Context<C extends Capabilities = Capabilities, NativeMessage = unknown> {
  readonly message: Message;
  /** For whom the message is handled: the group, or the broadcast's name. */
  readonly group: string;
  /** The broker's scope of order that it came from: partition, queue, stream; `''` where there is none. */
  readonly shard: string;
  /** Whether a batch handler gets it, together with others. */
  readonly batch: boolean;
  /** Whether what the handler publishes and its acceptance happen together or not at all. */
  readonly transactional: boolean;
  /** Aborts with a SluiceError: `HANDLER_TIMEOUT`, `LEASE_LOST`, or `CLOSED` at the drain's deadline. Made when first read. */
  readonly signal: AbortSignal;
  /** Aborts `signal` with this error: asks the run to stop. It is still waited for, and its result counts. For middleware. */
  abort(reason: SluiceError): void;
  /** When the handler's time limit ends; `undefined` without a limit. */
  readonly deadline: Date | undefined;
  /** Grows with each holder of this key's shard: give it to stores that refuse older holders. */
  readonly fence: bigint | undefined;
  /** The client library's own message. */
  readonly native: NativeMessage;
  /** The bus's logger with topic, group and message id bound. */
  readonly log: Logger;
  /**
   * Publishes with this message's trace and correlation headers. In a transactional subscription it joins the message's
   * transaction, and resolves then. @see Bus.publish
   */
  publish<Input, Output>(
    topic: Topic<Input, Output>,
    payload: Input,
    ...options: PublishArguments<C>
  ): Promise<Receipt>;
  /** Try again: counts an attempt; without a delay the policy says when. Must be returned. */
  retry(options?: { readonly delay?: Duration; readonly reason?: string }): RetryOutcome;
  /** Come back later without counting an attempt: a precondition is missing. Must be returned. */
  defer(delay: Duration, reason?: string): DeferOutcome;
  /** Give up: keep the message with the reason. Must be returned. */
  deadLetter(reason: string): DeadLetterOutcome;
  /** Done with it, unhandled, on purpose; counted. Must be returned. */
  drop(reason: string): DropOutcome;
}

/** Returning nothing = done; throwing = retry by policy, then dead letter. */
export type Handler<Payload, C extends Capabilities = Capabilities, NativeMessage = unknown> = (
  payload: Payload,
  context: Context<C, NativeMessage>,
) => void | Outcome | Promise<void | Outcome>;
