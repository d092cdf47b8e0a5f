import type { Capabilities, Filter, Start } from "../driver/index.ts";
import type { Duration } from "../duration.ts";
import type { AttemptMiddleware, BatchMiddleware, DeliveryMiddleware } from "../middleware.ts";
import type { DeliveryOption, Unsupported } from "../publish/options.ts";

/** When and how often a failed message is tried again. Waits are drawn from 0 … min(maxDelay, firstDelay × factor^n): full jitter. */
export interface RetryOptions {
  /** Runs of the handler in all, the first included. @default 8; 6 with ordering */
  readonly attempts?: number;
  /** @default '100ms' */
  readonly firstDelay?: Duration;
  /** @default 4 */
  readonly factor?: number;
  /** @default '10m'; '30s' with ordering */
  readonly maxDelay?: Duration;
  /** Waits up to this stay in this process; longer ones go through the group's own entry. Ordered waits always stay. @default '2s' */
  readonly inPlace?: Duration;
}

interface BaseSubscribeOptions {
  /** Handlers that run at once. @default 16 */
  readonly concurrency?: number;
  /** Most messages held by this subscription: waiting, running and unsettled. @default max(256, 2 × concurrency) */
  readonly window?: number;
  /** The same in body bytes. @default 64 MiB */
  readonly windowBytes?: number;
  /** Time limit of one handler run. `0` = none. @default '5m' */
  readonly timeout?: Duration;
  /** Only messages whose headers match; others are accepted unseen. @default all */
  readonly filter?: Filter;
  /** Around the handling, after the bus's own. */
  readonly middleware?: {
    readonly delivery?: readonly DeliveryMiddleware[];
    readonly attempt?: readonly AttemptMiddleware[];
    /** Only where the handler is one of batches. */
    readonly batch?: readonly BatchMiddleware[];
  };
  /** Ends the subscription with a drain. */
  readonly signal?: AbortSignal;
}

interface TransactionOptions {
  /**
   * What the handler publishes with `context.publish` is stored together with the message's acceptance, or not at all: when it
   * throws, ends with another outcome than done, or the process dies, nobody sees it. Such a publish resolves when it has joined
   * the transaction. @default false
   */
  readonly transactional?: boolean;
}

interface BaseGroupOptions extends BaseSubscribeOptions {
  readonly group: string;
  readonly broadcast?: undefined;
  /** Where a group begins that does not exist yet. @default 'now' */
  readonly start?: Start;
  readonly retry?: RetryOptions;
  /** `false`: a message that used up its attempts is dropped, and counted. @default true */
  readonly deadLetter?: boolean;
}

/** Consumers that share the work; durable. Options that the broker's capabilities lack do not compile. */
export type GroupOptions<C extends Capabilities = Capabilities> = BaseGroupOptions &
  DeliveryOption<C> &
  (C["transactions"] extends "absent"
    ? { readonly transactional?: Unsupported<"transactions over several messages"> }
    : TransactionOptions);

interface BaseBroadcastOptions extends BaseSubscribeOptions {
  /** A stable name: what this broadcast is for. */
  readonly broadcast: string;
  readonly group?: undefined;
  readonly start?: undefined;
  readonly retry?: Omit<RetryOptions, "inPlace">;
  readonly deadLetter?: undefined;
  readonly transactional?: undefined;
}

/** Every running instance gets every message sent while it is connected. Retries in place only; no dead letters. */
export type BroadcastOptions<C extends Capabilities = Capabilities> = BaseBroadcastOptions & DeliveryOption<C>;

/** Exactly one of group and broadcast, and only what the broker has. */
export type SubscribeOptions<C extends Capabilities = Capabilities> =
  | (C["group"] extends "absent" ? never : GroupOptions<C>)
  | (C["broadcast"] extends "absent" ? never : BroadcastOptions<C>);

/** Options of `subscribeBatch`. */
export type BatchOptions<C extends Capabilities = Capabilities> = GroupOptions<C> & {
  readonly batch?: {
    /** Most messages of one call. @default 100 */
    readonly size?: number;
    /** How long an incomplete batch waits for more. @default '50ms' */
    readonly wait?: Duration;
  };
};

/** Options of the pull consumer: `concurrency` is how many deliveries are handed out unsettled at once. */
export type ConsumerOptions<C extends Capabilities = Capabilities> = GroupOptions<C>;
