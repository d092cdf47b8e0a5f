import type { Capabilities } from "../driver/index.ts";
import type { Duration } from "../duration.ts";
import type { SluiceError } from "../errors.ts";

/** An option that the broker lacks: assigning anything to it does not compile, and the type says why. */
export type Unsupported<What extends string> = { readonly __unsupported: `this broker has no ${What}` } & undefined;

interface BasePublishOptions {
  /** Names the message for ever: 1 to 128 printable ASCII characters without blanks. @default a random UUID */
  readonly id?: string;
  /** Overrides the topic's key; `null` = none. */
  readonly key?: string | null;
  /**
   * Names of printable ASCII characters without blanks; lower-case ones survive every bridge. `sluice-` is reserved, and
   * `content-type` belongs to the topic's codec. @default none
   */
  readonly headers?: Readonly<Record<string, string>>;
  /** After this the message is dropped instead of handled, and counted. By the consumer's clock. */
  readonly expiresAt?: Date;
  /** Ends the wait. See `outcome` of the error for what became of the message. */
  readonly signal?: AbortSignal;
  /** Until the broker must have confirmed. @default the bus's `publish.deadline`, 30 s */
  readonly deadline?: Duration;
}

interface DelayOptions {
  /** Nobody sees the message earlier. Not with `deliverAt`. */
  readonly delay?: Duration;
  readonly deliverAt?: Date;
}

interface PriorityOptions {
  /** 0 (lowest) … 9. */
  readonly priority?: number;
}

/**
 * Where a broker may lose messages the caller has to say that this is wanted. Brokers that promise more take the word too, and
 * keep their promise: code that can do with less runs on all.
 */
export type DeliveryOption<C extends Capabilities> = C["delivery"] extends "at-most-once"
  ? { readonly delivery: "at-most-once" }
  : { readonly delivery?: "at-most-once" };

/** Optional, unless the broker makes an option mandatory. */
export type PublishArguments<C extends Capabilities> = C["delivery"] extends "at-most-once"
  ? [options: PublishOptions<C>]
  : [options?: PublishOptions<C>];

/** Options of one publish; those that the broker's capabilities lack do not compile. */
export type PublishOptions<C extends Capabilities = Capabilities> = BasePublishOptions &
  DeliveryOption<C> &
  (C["delay"]["topic"] extends "absent"
    ? { readonly delay?: Unsupported<"delayed publish">; readonly deliverAt?: Unsupported<"delayed publish"> }
    : DelayOptions) &
  (C["priority"] extends "absent" ? { readonly priority?: Unsupported<"priority"> } : PriorityOptions);

/** What a confirmed publish resolves to. */
export interface Receipt {
  readonly id: string;
  /** `false` only on a topic with `unrouted: 'allow'`: nobody keeps it. */
  readonly routed: boolean;
  /** What the client library answered: partition and offset, sequence number. */
  readonly native: unknown;
}

/** One message of `sendBatch`. */
export interface BatchEntry<Input, C extends Capabilities = Capabilities> {
  readonly payload: Input;
  readonly options?: Omit<PublishOptions<C>, "signal" | "deadline" | "delivery">;
}

/** Options of one `sendBatch`, for all of its messages. */
export type SendBatchOptions<C extends Capabilities = Capabilities> = DeliveryOption<C> & {
  /** Ends the wait for those that are not confirmed yet. */
  readonly signal?: AbortSignal;
  /** Until the broker must have confirmed. @default the bus's `publish.deadline`, 30 s */
  readonly deadline?: Duration;
};

/** Optional, unless the broker makes an option mandatory. */
export type SendBatchArguments<C extends Capabilities> = C["delivery"] extends "at-most-once"
  ? [options: SendBatchOptions<C>]
  : [options?: SendBatchOptions<C>];

/** What became of one message of `sendBatch`. */
export type BatchResult =
  | { readonly status: "sent"; readonly receipt: Receipt }
  | { readonly status: "failed"; readonly error: SluiceError };
