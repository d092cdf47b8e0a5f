/** Brokers that can be brought up here. */
export type BrokerName = "kafka" | "rabbitmq" | "redis" | "sqs-sns" | "google-pubsub";

/** Where a broker comes from, in the order in which they are tried. */
export type ProviderName = "external" | "containers" | "native";

export interface BrokerRequest {
  readonly broker: BrokerName;
  /** Absent: external if its address is in the environment, else containers, else native. */
  readonly provider?: ProviderName;
  /**
   * A version or its beginning (`4.3` fits 4.3.6). Where several products speak the same protocol, the product's name may
   * stand before it or alone: `valkey-9.1`, `moto`. Absent: the provider's default.
   */
  readonly version?: string;
}

/** What clients connect to: Kafka's list, or the URL of the AMQP, Redis or HTTP endpoint. */
export type BrokerAddress =
  | { readonly kind: "brokers"; readonly brokers: readonly string[] }
  | { readonly kind: "url"; readonly url: string };

export type StopMode = "graceful" | "kill";

/** Faults a test can cause. The port stays, and so do the data where `keepsData`; every method resolves when it is done. */
export interface BrokerControl {
  /** Stops and starts; resolves when the broker serves again (Kafka after `kill`: 15–20 s). */
  restart(mode: StopMode): Promise<void>;
  stop(mode: StopMode): Promise<void>;
  /** Resolves when the broker serves. */
  start(): Promise<void>;
  /** RabbitMQ only: raises or clears the memory alarm, which blocks publishing connections. */
  memoryAlarm?(on: boolean): Promise<void>;
  /** RabbitMQ only: runs `rabbitmqctl` with these arguments, for users and their rights. */
  readonly rabbitmqctl?: (...words: readonly string[]) => Promise<void>;
}

export type EnvironmentKind = "service" | "broker" | "emulator" | "fake";

/** The process behind a native broker. */
interface LocalProcess {
  /** Changes with every restart; undefined while stopped. */
  readonly pid: () => number | undefined;
  /** Data, configuration and log; removed by `stop()`. */
  readonly directory: string;
  readonly log: string;
}

export interface RunningBroker {
  readonly broker: BrokerName;
  readonly provider: ProviderName;
  /** As the server says, or as installed; `unknown` where neither tells (external Kafka, SQS, Pub/Sub). */
  readonly version: string;
  /** `emulator`: by the maker of the service itself; `fake`: somebody else's stand-in. */
  readonly environment: EnvironmentKind;
  /** Whether messages and topics survive `control`. Not known of external brokers. */
  readonly keepsData?: boolean;
  readonly address: BrokerAddress;
  /** Environment variables that make `external` find this broker. */
  readonly environmentVariables: Readonly<Record<string, string>>;
  /** Milliseconds from the request to the first real answer. */
  readonly readyAfter: number;
  /** Absent for external brokers: they are not ours to stop. */
  readonly control?: BrokerControl;
  /** Only for native brokers. */
  readonly local?: LocalProcess;
  /** Stops the broker and removes its data. External brokers are left alone. May be called twice. */
  stop(): Promise<void>;
}

export interface UnavailableBroker {
  readonly request: BrokerRequest;
  readonly why: string;
}

export type Log = (line: string) => void;

/** What a provider does with a request; it rejects with an error that says why it cannot. */
export type StartBroker = (request: BrokerRequest, log: Log) => Promise<RunningBroker>;

/** One row of the listing: what could be started on this machine. */
export interface Offer {
  readonly broker: BrokerName;
  readonly provider: ProviderName;
  readonly version: string;
  /** Absent when it can be had. */
  readonly why?: string;
  /** What would happen first, for example an installation. */
  readonly note?: string;
}
