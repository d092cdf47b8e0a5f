import type { Order } from "./order.ts";

export const brokerNames = ["kafka", "rabbitmq"] as const;
export type Broker = (typeof brokerNames)[number];

export const scenarios = ["publish", "publish-each", "consume-1", "consume-100", "latency"] as const;
export type Scenario = (typeof scenarios)[number];

/** What handlers get; resolves when the message may be acknowledged. */
export type HandleOrder = (order: Order) => Promise<void>;

/** One way to use a broker, connected, on one topic of its own. */
export interface Contender {
  /** Publishes `count` orders, numbered from 0, with at most `inFlight` unconfirmed; resolves when the broker has confirmed all. */
  publish(count: number, inFlight: number): Promise<void>;
  publishOne(order: Order): Promise<void>;
  /** Handles what the topic keeps and all that comes, `concurrency` at once. Resolves when it is live. */
  consume(concurrency: number, handle: HandleOrder): Promise<void>;
  close(): Promise<void>;
}

/** How a contender is called, and against which it is compared. */
export interface ContenderName {
  readonly name: string;
  readonly scenarios: readonly Scenario[];
}

const publishing: readonly Scenario[] = ["publish", "publish-each"];

/** The first one of a broker is what the others are compared with. */
export const contenders: Readonly<Record<Broker, readonly ContenderName[]>> = {
  kafka: [
    { name: "raw", scenarios },
    { name: "raw-idempotent", scenarios: publishing },
    { name: "sluice", scenarios },
    { name: "sluice-keyed", scenarios },
  ],
  rabbitmq: [
    { name: "raw", scenarios },
    { name: "sluice", scenarios },
    { name: "sluice-keyed", scenarios },
  ],
};

/** What a child process is told, as JSON in its only argument. */
export interface Task {
  readonly broker: Broker;
  readonly contender: string;
  /** `fill`: publishes the backlog that a later process consumes. */
  readonly scenario: Scenario | "fill";
  readonly topic: string;
  readonly messages: number;
}

/** What a child process found, as JSON in the last line of its output. */
export interface Finding {
  readonly messagesPerSecond: number;
  /** Processor time of the client, all threads, in microseconds a message. */
  readonly cpuMicroseconds: number;
  readonly peakMebibytes: number;
  /** Milliseconds from publishing to the handler; only of `latency`. */
  readonly p50?: number;
  readonly p99?: number;
  /** Messages that were handled more than once. */
  readonly duplicates: number;
}
