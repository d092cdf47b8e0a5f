export type { Capabilities, DelaySupport, Limits, Support } from "./capabilities.ts";
export type {
  Backlog,
  ConnectContext,
  Connection,
  Driver,
  DriverEvent,
  LostReason,
  Receiver,
  ReceiverOptions,
  Sender,
} from "./driver.ts";
export { deadLetterHeaders, fromDeadLetter } from "./dead-letter.ts";
export { DriverError } from "./driver-error.ts";
export type { DriverErrorCode } from "./driver-error.ts";
export { readDestination, readTime } from "./reading.ts";
export { emptyHeaders } from "./record.ts";
export type {
  BroadcastSource,
  Bytes,
  CommitResult,
  DeadLetterSource,
  Delivery,
  Destination,
  Filter,
  GroupSource,
  Headers,
  Key,
  OutgoingRecord,
  Position,
  SendItem,
  SendResult,
  SettleResult,
  Settlement,
  Source,
  Start,
  Unit,
} from "./record.ts";
export { sleep } from "./runtime.ts";
export type { Runtime } from "./runtime.ts";
export type { Declaration, DeclaredGroup, DeclaredTopic, Finding, ProvisionMode, Resource, Role } from "./topology.ts";
export { reservedHeaderPrefix, wire } from "./wire.ts";
