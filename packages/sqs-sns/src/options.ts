import type { Message, SQSClient, SQSClientConfig } from "@aws-sdk/client-sqs";
import type { SNSClient } from "@aws-sdk/client-sns";
import { DriverError } from "@sluice/core/driver";

/** What `sqsSns()` takes. Region, endpoint and credentials default to what the AWS SDK finds in its usual places. */
export interface SqsSnsOptions {
  /** @default AWS_REGION, then the shared configuration; `us-east-1` where an endpoint is given and no region is known */
  readonly region?: string;
  /** Another address for both services: an emulator, a VPC endpoint. @default AWS_ENDPOINT_URL, else the region's */
  readonly endpoint?: string;
  /** Keys, or a provider that is asked again before they expire. @default the SDK's provider chain */
  readonly credentials?: NonNullable<SQSClientConfig["credentials"]>;
  /** Ready-made clients for everything, instead of our own. n.b. `maxSockets` must exceed `pollers`; their retries apply to sends too. */
  readonly clients?: { readonly sqs: SQSClient; readonly sns: SNSClient };
  /** The account of the topics, twelve digits. @default that of the first topic that `sns:ListTopics` shows, or of a created one */
  readonly accountId?: string;
  /** Put before every name on the broker: letters, digits, `-` and `_`. @default "" */
  readonly prefix?: string;
  /** How long a received message stays hidden, and is renewed at a third of it. Seconds, 2 to 43200. @default 30 */
  readonly visibilitySeconds?: number;
  /** How long a poll of an idle queue waits; it gets there in steps from one second. Seconds, 1 to 20. @default 20 */
  readonly waitSeconds?: number;
  /**
   * Where there are more queues than `pollers`: about how many requests a second go to queues that had nothing lately. Each takes
   * 1 to 2 ms of processor time, and is billed; so many idle queues a second are looked at for what others send there. What this bus
   * sends itself is seen at once. 1 to 1000. @default 8
   */
  readonly idleRequestsPerSecond?: number;
  /** Most polls at once on a connection, each holds a socket. 1 to 1000. @default 28 */
  readonly pollers?: number;
  /** Receives after which the broker itself dead-letters: the net under core's attempts. 20 to 1000. @default 100 */
  readonly maxReceiveCount?: number;
  /** How long queues keep messages, dead letters always 14 days. Seconds, 60 to 1209600. @default 1209600 */
  readonly retentionSeconds?: number;
  /** What a topic takes in one message, attributes included. Above 262144 new topics get the attribute that allows it. @default 262144 */
  readonly maxMessageBytes?: number;
  /** Whether the SDK checks MD5 sums of bodies; `false` where MD5 is not allowed (FIPS). @default true */
  readonly md5?: boolean;
}

/** `context.native`: the SDK's message. */
export type SqsMessage = Message;

/** `bus.native`: the SDK's clients. Never destroy them. */
export interface SqsSnsClient {
  readonly sqs: SQSClient;
  readonly sns: SNSClient;
}

/** The options with every default in place. */
export interface Settings {
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
  readonly credentials: SqsSnsOptions["credentials"];
  readonly clients: SqsSnsOptions["clients"];
  readonly accountId: string | undefined;
  readonly prefix: string;
  readonly visibilitySeconds: number;
  readonly waitSeconds: number;
  readonly idleRequestsPerSecond: number;
  readonly pollers: number;
  readonly maxReceiveCount: number;
  readonly retentionSeconds: number;
  readonly maxMessageBytes: number;
  readonly md5: boolean;
}

/** Checks the options and fills in the defaults. @throws DriverError CONFIG */
export function settings(options: SqsSnsOptions): Settings {
  const { prefix = "", accountId, endpoint } = options;
  if (!/^[A-Za-z0-9_-]{0,30}$/.test(prefix)) {
    throw wrong(`prefix is "${prefix}"`, 'use at most 30 letters, digits, "-" and "_"');
  }
  if (accountId !== undefined && !/^\d{12}$/.test(accountId)) {
    throw wrong(`accountId is "${accountId}"`, "use the twelve digits of the account");
  }
  if (endpoint !== undefined && !/^https?:\/\/./.test(endpoint)) {
    throw wrong("endpoint is no http or https address", "use https://host:port");
  }
  return {
    region: options.region,
    endpoint,
    credentials: options.credentials,
    clients: options.clients,
    accountId,
    prefix,
    visibilitySeconds: range("visibilitySeconds", options.visibilitySeconds ?? 30, 2, 43_200),
    waitSeconds: range("waitSeconds", options.waitSeconds ?? 20, 1, 20),
    idleRequestsPerSecond: range("idleRequestsPerSecond", options.idleRequestsPerSecond ?? 8, 1, 1_000),
    pollers: range("pollers", options.pollers ?? 28, 1, 1_000),
    // Below 20 the net would catch messages that core still wants to try or to convict of a crash.
    maxReceiveCount: range("maxReceiveCount", options.maxReceiveCount ?? 100, 20, 1_000),
    retentionSeconds: range("retentionSeconds", options.retentionSeconds ?? 1_209_600, 60, 1_209_600),
    maxMessageBytes: range("maxMessageBytes", options.maxMessageBytes ?? 262_144, 65_536, 1_048_576),
    md5: options.md5 ?? true,
  };
}

function range(name: string, value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw wrong(`${name} is ${value}`, `use a whole number from ${low} to ${high}`);
}

function wrong(what: string, todo: string): DriverError {
  return new DriverError("CONFIG", `sqs-sns: ${what}; ${todo}`);
}
