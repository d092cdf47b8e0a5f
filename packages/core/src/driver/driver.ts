import type { Capabilities, Limits } from "./capabilities.ts";
import type { DriverError } from "./driver-error.ts";
import type {
  DeadLetterSource,
  CommitResult,
  Delivery,
  GroupSource,
  Position,
  SendItem,
  SendResult,
  SettleResult,
  Settlement,
  Source,
  Unit,
} from "./record.ts";
import type { Runtime } from "./runtime.ts";
import type { Declaration, Finding, ProvisionMode, Resource } from "./topology.ts";

/**
 * What an adapter implements; users never see it. Core owns every wait, retry and loop.
 *
 * Rules that hold everywhere:
 * 1. A Connection, Sender or Receiver that fails is finished: `closed` resolves, pending calls settle, and core opens another
 *    with back-off. A driver may heal inside only where no delivery and no send outcome is lost by it.
 * 2. A driver waits for its client, never for a policy. The client's own retries are off, except those that keep the broker's
 *    dedup identity (an idempotent sequence); these end when the signal aborts.
 * 3. No global clock, timer or chance: only `context.runtime`. No log: only `context.report`.
 * 4. Every call ends soon after its signal aborts: sends as `unknown` (or `not-stored` when nothing left the process),
 *    settlements as `lost`. No promise, timer or socket outlives `close()`.
 * 5. `close` and `stop` may be called twice and while anything else runs; the second call joins the first.
 */
export interface Driver<
  out C extends Capabilities = Capabilities,
  out NativeMessage = unknown,
  out NativeClient = unknown,
> {
  /** The import's name: `kafka`, `rabbitmq`, … First word of every error message. */
  readonly name: string;
  /** The `messaging.system` of OpenTelemetry: `kafka`, `rabbitmq`, … */
  readonly system: string;
  /** The floor: what every supported version keeps. */
  readonly capabilities: C;
  /** Pure: what must exist on the broker for a declaration. Needs no broker. */
  topology(declaration: Declaration): readonly Resource[];
  /** Opens and authenticates, or rejects with a DriverError within 10 s of a broker that refuses or does not answer. */
  connect(context: ConnectContext): Promise<Connection>;
  /** Never set: carries the types of `context.native` and `bus.native`. */
  readonly types?: { readonly message: NativeMessage; readonly client: NativeClient };
}

export interface ConnectContext {
  readonly runtime: Runtime;
  /** Ends the attempt to connect; not the connection. */
  readonly signal: AbortSignal;
  /** Shown in the broker's own tools: client id, connection name. */
  readonly clientName: string;
  report(event: DriverEvent): void;
}

/** What a driver notices and core cannot: counted, published on diagnostics_channel, part of `health`. */
export interface DriverEvent {
  readonly kind: "blocked" | "unblocked" | "throttled" | "gap" | "data-loss" | "recreated" | "stale-settle";
  readonly source?: Source;
  readonly count?: number;
  readonly detail: string;
}

export interface Connection {
  /** Refined by server version and options; never below the floor. */
  readonly capabilities: Capabilities;
  readonly limits: Limits;
  /** Product and version as the server says, for reports: `Apache Kafka 4.3.1`. */
  readonly server: string;
  /** The client library's own object. */
  readonly native: unknown;
  /** Resolves once, with the reason, or `undefined` after `close()`. Never rejects. */
  readonly closed: Promise<DriverError | undefined>;
  /**
   * Makes or checks what `driver.topology` returned. Idempotent; may race with itself in other processes. Resolves when every
   * resource is usable. A finding per resource that is not `ok`; throws only when the broker cannot be asked.
   */
  provision(resources: readonly Resource[], mode: ProvisionMode, signal: AbortSignal): Promise<readonly Finding[]>;
  /** Removes what dead broadcast instances left, and trims. Core calls it now and then with jitter. Resolves to how many. */
  sweep?(signal: AbortSignal): Promise<number>;
  /** One for all destinations. Has its own socket where acknowledgements share flow control with sends. */
  sender(): Promise<Sender>;
  /** Resolves when live: a record sent after that arrives. Rejects with NOT_FOUND when a resource is missing. */
  receiver(sources: readonly Source[], options: ReceiverOptions): Promise<Receiver>;
  /** How much waits; a member that the broker cannot tell is left out, never 0. Dead-letter sources too. */
  backlog(source: Source, signal: AbortSignal): Promise<Backlog>;
  /**
   * Has the broker move everything of a dead-letter source back to its group by itself, and resolves with how many when they are there.
   * It cannot change their headers: the receiver shows those letters as `fromDeadLetter` makes them. `undefined`: this server has no
   * such order, nothing was moved, and core moves each.
   */
  moveBack?(source: DeadLetterSource, signal: AbortSignal): Promise<number | undefined>;
  /** Reads up to `max` waiting records of a dead-letter source after a cursor, and takes nothing. */
  browse?(
    source: Source,
    after: string | undefined,
    max: number,
    signal: AbortSignal,
  ): Promise<{ readonly deliveries: readonly Delivery[]; readonly next: string | undefined }>;
  /**
   * Moves the whole group, for every member; its own entry stays as it is. Rejects with BUSY while the group has members, where
   * the broker cannot move it under them. Present where `capabilities.seek` is not absent.
   */
  seek?(source: GroupSource, to: Position, signal: AbortSignal): Promise<void>;
  /** Resolves when the broker answered a round trip. */
  ping(signal: AbortSignal): Promise<void>;
  close(signal: AbortSignal): Promise<void>;
}

export interface Sender {
  /**
   * One result per item, in order; resolves when the broker confirmed or refused every item, never rejects. Calls overlap up to
   * `limits.sendsInFlight`; core keeps to `limits.batch`. Must not retry by policy. After the first failure of a key in a call
   * nothing later of that key is stored (else `limits.batch.perKey` is 1, and core never has two of a key outstanding). A group's
   * own entry or dead-letter entry that nobody keeps is `unroutable`; so is a topic without readers where `retained` is false.
   */
  send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]>;
  readonly closed: Promise<DriverError | undefined>;
  /** Flushes until the signal aborts; what is left settles as `not-stored` or `unknown`. */
  close(signal: AbortSignal): Promise<void>;
}

export interface ReceiverOptions {
  /** One holder per shard at a time; the shard of a key never changes while it has unsettled records. */
  readonly ordered: boolean;
  /**
   * Hard bound on records buffered, handed out and unsettled; per shard on a log. With more sources than that a driver may buffer
   * one record of each, but hand out no more than the window. 1 = quarantine probe: strict, also over many sources.
   */
  readonly window: number;
  /** Bound on body bytes of the same, soft by one native batch. */
  readonly windowBytes: number;
  /**
   * Acceptances come through `commit` only, never through `settle`. Releases still come through `settle`, also where
   * `capabilities.release` is `absent`: core says that it will not finish a record, so that units which wait behind it end.
   */
  readonly transactional?: true;
  /**
   * Called synchronously when these stop being ours, before a new holder starts where the protocol allows. They are never
   * settled by us; core aborts their handlers. Not called for `stop` and `close`.
   */
  lost(deliveries: readonly Delivery[], reason: LostReason): void;
}

export type LostReason = "revoked" | "expired" | "disconnected";

export interface Receiver {
  /** `undefined`: held as long as the connection lives. `holdMs`: longest time that one delivery can be kept. */
  readonly lease: { readonly ms: number; readonly renew: boolean; readonly holdMs: number } | undefined;
  readonly closed: Promise<DriverError | undefined>;
  /**
   * 1…max records as soon as there is one; `[]` after a poll without any; `undefined` = a finite source has ended. Overlaps up to
   * `limits.receivesInFlight`. Fair over sources and shards. Abort = resolve with what there is: never drop what the broker has
   * handed over, and never cancel a poll whose answer the broker would still count as delivered.
   */
  receive(max: number, signal: AbortSignal): Promise<readonly Delivery[] | undefined>;
  /**
   * One result per settlement, in order; never rejects. Core coalesces up to `limits.settleBatch` and never overlaps calls. Late,
   * double or foreign settlements answer `lost` and touch nothing. Only called with releases where `capabilities.release` allows.
   */
  settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]>;
  /** Makes everything `recorded` durable. */
  flush(signal: AbortSignal): Promise<void>;
  /** Prolongs the leases to `ms` from now; resolves to those that are lost. Present where `lease.renew`. */
  extend?(deliveries: readonly Delivery[], ms: number): Promise<readonly Delivery[]>;
  /** Stops (or starts again) the intake of these shards while others flow; forgotten when a shard is lost. */
  hold?(shards: readonly string[], on: boolean): void;
  /**
   * All or nothing per unit, one answer per unit, in order; never rejects. Absent: core sends, waits for the confirmation, then
   * accepts. Calls overlap. Where `capabilities.commit` is `prefix`, a unit waits in the driver until everything older of its
   * shard is committed; when that can no longer be (released, closed), it answers `lost`.
   */
  commit?(units: readonly Unit[]): Promise<readonly CommitResult[]>;
  /** No more intake; records that core never saw go back now. `settle`, `extend` and `flush` still work. */
  stop(signal: AbortSignal): Promise<void>;
  /** Flushes, gives back the rest, leaves the group. Ordered: the next holder starts only after this one's last settlement. */
  close(signal: AbortSignal): Promise<void>;
}

/** Undefined member = unknown. `oldestMs`: age of the oldest waiting record. */
export interface Backlog {
  readonly ready?: number;
  readonly inFlight?: number;
  readonly delayed?: number;
  readonly oldestMs?: number;
}
