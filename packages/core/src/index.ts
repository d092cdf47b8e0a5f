export { Bus, connect } from "./bus.ts";
export type { EventOf } from "./bus.ts";
export { bytes, json, text } from "./codec.ts";
export type { Codec, PlainCodec, WireMessage } from "./codec.ts";
export type { BatchAnswer, BatchHandler, BatchItem } from "./consume/batch.ts";
export { Consumer, Delivered } from "./consume/consumer.ts";
export type { Counters } from "./consume/counters.ts";
export type {
  BatchOptions,
  BroadcastOptions,
  ConsumerOptions,
  GroupOptions,
  RetryOptions,
  SubscribeOptions,
} from "./consume/options.ts";
export { unusedOutcome } from "./consume/handler-context.ts";
export { Subscription } from "./consume/subscription.ts";
export type { DrainOptions, Event, SubscriptionHealth } from "./consume/subscription.ts";
export type { Context, Handler } from "./context.ts";
export { deadLetterHeaders } from "./driver/index.ts";
export { DeadLetters } from "./dead-letters.ts";
export type { DeadLetter, DeadLetterSelection, DiscardReport, RedriveReport } from "./dead-letters.ts";
export type {
  Backlog,
  Bytes,
  Capabilities,
  Driver,
  DriverEvent,
  Filter,
  Finding,
  Key,
  Limits,
  ProvisionMode,
  Resource,
  Role,
  Runtime,
  Start,
  Support,
} from "./driver/index.ts";
export { milliseconds } from "./duration.ts";
export type { Duration } from "./duration.ts";
export { isSluiceError, PermanentError, SluiceError, UnavailableError } from "./errors.ts";
export type { ErrorCode, Issue, SluiceErrorOptions } from "./errors.ts";
export { events } from "./events.ts";
export type {
  AttemptFailedEvent,
  BrokerEvent,
  DuplicateEvent,
  EventChannel,
  PublishedEvent,
  PublishFailedEvent,
  SettledEvent,
  SettledFate,
  StateEvent,
  StuckEvent,
} from "./events.ts";
export type { Health } from "./health.ts";
export type { Logger } from "./logger.ts";
export type { Message } from "./message.ts";
export type {
  AttemptMiddleware,
  BatchMiddleware,
  DeliveryMiddleware,
  Draft,
  DraftBatch,
  Middleware,
  PublishMiddleware,
  WireMiddleware,
} from "./middleware.ts";
export { nodeRuntime } from "./node-runtime.ts";
export type { ConnectOptions, RunOptions } from "./options.ts";
export { outcome } from "./outcome.ts";
export type { DeadLetterOutcome, DeferOutcome, DropOutcome, Outcome, RetryOutcome } from "./outcome.ts";
export type {
  BatchEntry,
  BatchResult,
  DeliveryOption,
  PublishArguments,
  PublishOptions,
  Receipt,
  SendBatchArguments,
  SendBatchOptions,
  Unsupported,
} from "./publish/options.ts";
export { plan } from "./plan.ts";
export type { Permission, Plan } from "./plan.ts";
export { Producer } from "./publish/producer.ts";
export type { SendQueueHealth } from "./publish/send-queue-options.ts";
export type { SeekOptions } from "./seek.ts";
export type { SchemaIssue, SchemaResult, StandardSchema } from "./schema.ts";
export type { Settled, SettledMatch } from "./spies.ts";
export { topic } from "./topic.ts";
export type { AnyTopic, InputOf, OutputOf, Topic, TopicOptions } from "./topic.ts";
