import type { PubSub, protos } from "@google-cloud/pubsub";
import { DriverError } from "@sluice/core/driver";

/** What `googlePubsub()` takes. */
export interface GooglePubsubOptions {
  /** The Google Cloud project. @default PUBSUB_PROJECT_ID, GOOGLE_CLOUD_PROJECT, the client's, or that of the credentials */
  readonly projectId?: string;
  /** `host:port` of another endpoint: a region (`europe-west1-pubsub.googleapis.com:443`) or an emulator. @default PUBSUB_EMULATOR_HOST, or the service */
  readonly endpoint?: string;
  /** A client of yours, with its credentials and endpoint. It stays yours: `bus.close()` leaves it open. */
  readonly client?: PubSub;
  /** Put before every name that is made on the broker. Letters, digits, `.`, `_` and `-`. @default "" */
  readonly prefix?: string;
  /**
   * `stream`: groups listen on streams, which is fastest. `pull`: they ask for what there is room for, up to ten times a second, which
   * is exact to the message. With an emulator, whose streams know no flow control, receivers of up to four topics always pull.
   * @default "stream"
   */
  readonly intake?: "stream" | "pull";
  /** Seconds for which a message is ours before it has to be renewed; a dead process's messages come back after it. 10 to 600. @default 60 */
  readonly leaseSeconds?: number;
  /** Make groups with exactly-once delivery: a settled message does not come again, and settlements are confirmed. One region only. @default false */
  readonly exactlyOnce?: boolean;
  /** Make groups that keep settled messages for `retentionDays`, so that `bus.seek` can go back in time. Google bills their storage. @default true */
  readonly retainAcked?: boolean;
  /** How long a group keeps what nobody settled. 1 to 31. @default 7 */
  readonly retentionDays?: number;
  /** Make topics that keep everything for so long, settled or not: `bus.seek` then reaches back before a group existed. 0 to 744; Google bills it. @default 0 */
  readonly topicRetentionHours?: number;
  /** Deliveries after which the broker itself dead-letters: the net under our own attempts, and what makes it count. 10 to 100. @default 100 */
  readonly deliveryLimit?: number;
  /** Seconds between the probes of every socket; a silent one is replaced after at most twice that. 1 to 300. @default 30 */
  readonly heartbeat?: number;
}

/** `context.native`: the message as the API has it, and the subscription it came from. */
export interface GooglePubsubMessage extends protos.google.pubsub.v1.IPubsubMessage {
  /** `projects/P/subscriptions/S`. */
  readonly subscription: string;
  /** Deliveries so far as the broker counts, about; 0 where it does not. */
  readonly deliveryAttempt: number;
}

/** `bus.native`: the client library's own client. */
export type GooglePubsubClient = PubSub;

/** The options with every default in place. */
export interface Settings {
  readonly projectId: string | undefined;
  readonly endpoint: string | undefined;
  readonly client: PubSub | undefined;
  readonly prefix: string;
  readonly intake: "stream" | "pull";
  readonly leaseSeconds: number;
  readonly exactlyOnce: boolean;
  readonly retainAcked: boolean;
  readonly retentionDays: number;
  readonly topicRetentionHours: number;
  readonly deliveryLimit: number;
  readonly heartbeatMs: number;
}

/** Below it the net would catch messages that core still wants to try or to convict of a crash. */
export const leastDeliveryLimit = 10;

/** Checks the options and fills in the defaults. @throws DriverError CONFIG */
export function settings(options: GooglePubsubOptions): Settings {
  const { projectId, endpoint, client, prefix = "" } = options;
  if (projectId !== undefined && !/^[a-z0-9][a-z0-9.:-]*$/.test(projectId)) {
    throw wrong(`projectId is ${JSON.stringify(projectId)}`, "use the project's id, as in projects/ID/topics/…");
  }
  if (endpoint !== undefined && !/^(https?:\/\/)?[^\s/:]+(:\d{1,5})?\/*$/.test(endpoint)) {
    throw wrong(`endpoint is ${JSON.stringify(endpoint)}`, "use host:port");
  }
  if (prefix !== "" && (!/^[A-Za-z][A-Za-z0-9._-]*$/.test(prefix) || prefix.length > 60 || /^goog/i.test(prefix))) {
    throw wrong(
      `prefix is ${JSON.stringify(prefix)}`,
      `use up to 60 letters, digits, ".", "_" and "-", beginning with a letter and not with "goog"`,
    );
  }
  return {
    projectId,
    endpoint,
    client,
    prefix,
    intake: options.intake ?? "stream",
    leaseSeconds: range("leaseSeconds", options.leaseSeconds ?? 60, 10, 600),
    exactlyOnce: options.exactlyOnce ?? false,
    retainAcked: options.retainAcked ?? true,
    retentionDays: range("retentionDays", options.retentionDays ?? 7, 1, 31),
    topicRetentionHours: range("topicRetentionHours", options.topicRetentionHours ?? 0, 0, 744),
    deliveryLimit: range("deliveryLimit", options.deliveryLimit ?? 100, leastDeliveryLimit, 100),
    heartbeatMs: 1_000 * range("heartbeat", options.heartbeat ?? 30, 1, 300),
  };
}

function range(name: string, value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw wrong(`${name} is ${value}`, `use a whole number from ${low} to ${high}`);
}

function wrong(what: string, todo: string): DriverError {
  return new DriverError("CONFIG", `google-pubsub: ${what}; ${todo}`);
}
