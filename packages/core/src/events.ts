import { channel } from "node:diagnostics_channel";
import type { Context } from "./context.ts";
import type { DriverEvent } from "./driver/index.ts";
import type { SluiceError } from "./errors.ts";

/** A confirmed publish. */
export interface PublishedEvent {
  readonly system: string;
  readonly topic: string;
  readonly id: string;
  readonly routed: boolean;
}

/** A publish that its caller saw fail. */
export interface PublishFailedEvent {
  readonly system: string;
  readonly topic: string;
  readonly id: string;
  readonly error: SluiceError;
}

/** What became of one delivered message: the last word of this process about it. */
export interface SettledEvent {
  readonly system: string;
  readonly topic: string;
  /** Group, or the broadcast's name. */
  readonly group: string;
  readonly id: string;
  readonly attempt: number;
  readonly fate: SettledFate;
  /** Why it was dead-lettered, dropped, deferred or retried. */
  readonly reason: string | undefined;
  readonly error: unknown;
}

/**
 * `done`, `drop`, `dead-letter` end the message for the group; `retry` and `defer` moved it to the group's own entry; `lost`
 * went to another holder; `returned` went back unhandled; `filtered` did not match.
 */
export type SettledFate = "done" | "retry" | "defer" | "dead-letter" | "drop" | "lost" | "returned" | "filtered";

/** One failed run that stays in this process. */
export interface AttemptFailedEvent {
  readonly system: string;
  readonly topic: string;
  readonly group: string;
  readonly id: string;
  readonly attempt: number;
  readonly error: unknown;
  /** Milliseconds until the next run here. */
  readonly waitMs: number;
}

/** A connection, subscription or publish queue changed its state. */
export interface StateEvent {
  readonly system: string;
  readonly what: "connection" | "subscription" | "sender";
  readonly name: string;
  readonly state: string;
  readonly error: unknown;
}

/** A handler outlived its time limit, or settled after it. */
export interface StuckEvent {
  readonly system: string;
  readonly topic: string;
  readonly group: string;
  readonly id: string;
  readonly kind: "timeout" | "stuck" | "late";
}

/** A delivery that somebody knew as handled before, and did not handle again. Published by middleware that deduplicates. */
export interface DuplicateEvent {
  readonly topic: string;
  readonly group: string;
  readonly id: string;
  /** Tells an observer of one bus whether the delivery is one of its own. */
  readonly context: Context;
}

/** A driver's own notice, with the broker's system. */
export type BrokerEvent = DriverEvent & { readonly system: string };

/** The typed side of a `node:diagnostics_channel`: subscribe by `name`, or with `subscribe` of that module. */
export interface EventChannel<Event> {
  readonly name: string | symbol;
  readonly hasSubscribers: boolean;
  publish(event: Event): void;
}

/** Every `node:diagnostics_channel` of Sluice. Publishing costs nothing while nobody listens. */
export const events: {
  readonly published: EventChannel<PublishedEvent>;
  readonly publishFailed: EventChannel<PublishFailedEvent>;
  readonly settled: EventChannel<SettledEvent>;
  readonly attemptFailed: EventChannel<AttemptFailedEvent>;
  readonly state: EventChannel<StateEvent>;
  readonly stuck: EventChannel<StuckEvent>;
  readonly duplicate: EventChannel<DuplicateEvent>;
  readonly broker: EventChannel<BrokerEvent>;
} = {
  published: channel("sluice:published"),
  publishFailed: channel("sluice:publish-failed"),
  settled: channel("sluice:settled"),
  attemptFailed: channel("sluice:attempt-failed"),
  state: channel("sluice:state"),
  stuck: channel("sluice:stuck"),
  duplicate: channel("sluice:duplicate"),
  broker: channel("sluice:broker"),
};
