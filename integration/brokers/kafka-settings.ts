/** A single KRaft node: broker and controller in one, nothing replicated, nothing created by accident. */
const common: Readonly<Record<string, string>> = {
  "process.roles": "broker,controller",
  "node.id": "1",
  "controller.listener.names": "CONTROLLER",
  "inter.broker.listener.name": "INTERNAL",
  "listener.security.protocol.map": "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
  "offsets.topic.replication.factor": "1",
  "transaction.state.log.replication.factor": "1",
  "transaction.state.log.min.isr": "1",
  "share.coordinator.state.topic.replication.factor": "1",
  "share.coordinator.state.topic.min.isr": "1",
  "default.replication.factor": "1",
  "group.initial.rebalance.delay.ms": "0",
  "auto.create.topics.enable": "false",
  // 50 partitions by default: ten start and restart faster on a small machine.
  "offsets.topic.num.partitions": "10",
  "transaction.state.log.num.partitions": "10",
};

export interface KafkaListeners {
  /** Interface that the listeners bind to; empty for all. */
  readonly bind: string;
  readonly clientPort: number;
  readonly internalPort: number;
  readonly controllerPort: number;
  /** Where clients find the broker, `host:port`. */
  readonly advertised: string;
}

/**
 * Server properties. The broker talks to itself (transaction markers) through a listener of its
 * own, because the clients' address may not lead anywhere from inside a container.
 */
export function kafkaSettings(listeners: KafkaListeners): Record<string, string> {
  const { bind, clientPort, internalPort, controllerPort, advertised } = listeners;
  return {
    ...common,
    listeners: `CLIENT://${bind}:${clientPort},INTERNAL://127.0.0.1:${internalPort},CONTROLLER://127.0.0.1:${controllerPort}`,
    "advertised.listeners": `CLIENT://${advertised},INTERNAL://127.0.0.1:${internalPort}`,
  };
}

/** The image's convention: `a.b` is `KAFKA_A_B`. */
export function asEnvironment(settings: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [`KAFKA_${name.toUpperCase().replaceAll(".", "_")}`, value]),
  );
}
