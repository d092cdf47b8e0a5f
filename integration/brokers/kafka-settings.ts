/** A single KRaft node: broker and controller in one, nothing replicated, nothing created by accident. */
const common: Readonly<Record<string, string>> = {
  "process.roles": "broker,controller",
  "node.id": "1",
  "controller.listener.names": "CONTROLLER",
  "inter.broker.listener.name": "INTERNAL",
  "listener.security.protocol.map":
    "CLIENT:PLAINTEXT,PROXIED:PLAINTEXT,SECURED:SASL_PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
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

const login = `org.apache.kafka.common.security.plain.PlainLoginModule required user_powerless="powerless";`;

/** Plain listeners know no names: who comes through them is anonymous, and may do everything. */
const rights: Readonly<Record<string, string>> = {
  "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
  "super.users": "User:ANONYMOUS",
  "sasl.enabled.mechanisms": "PLAIN",
  "listener.name.secured.plain.sasl.jaas.config": login,
};

export interface KafkaListeners {
  /** Interface that the listeners bind to; empty for all. */
  readonly bind: string;
  readonly clientPort: number;
  readonly internalPort: number;
  readonly controllerPort: number;
  /** Where clients find the broker, `host:port`. */
  readonly advertised: string;
  /** One more listener for clients, which sends them to another address than its own: to where a proxy can stand. */
  readonly proxied?: { readonly port: number; readonly advertised: string };
  /** One more listener, whose clients log in: there is one user, `powerless`, with its name as password, who may connect and nothing else. */
  readonly secured?: { readonly port: number; readonly advertised: string };
}

/**
 * Server properties. The broker talks to itself (transaction markers) through a listener of its
 * own, because the clients' address may not lead anywhere from inside a container.
 */
export function kafkaSettings(listeners: KafkaListeners): Record<string, string> {
  const { bind, clientPort, internalPort, controllerPort, advertised, proxied, secured } = listeners;
  const own = `INTERNAL://127.0.0.1:${internalPort}`;
  const bound = [`CLIENT://${bind}:${clientPort}`, own, `CONTROLLER://127.0.0.1:${controllerPort}`];
  const stated = [`CLIENT://${advertised}`, own];
  if (proxied) {
    bound.push(`PROXIED://${bind}:${proxied.port}`);
    stated.push(`PROXIED://${proxied.advertised}`);
  }
  if (secured) {
    bound.push(`SECURED://${bind}:${secured.port}`);
    stated.push(`SECURED://${secured.advertised}`);
  }
  return {
    ...common,
    listeners: bound.join(","),
    "advertised.listeners": stated.join(","),
    ...(secured && rights),
  };
}

/** The image's convention: `a.b` is `KAFKA_A_B`. */
export function asEnvironment(settings: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [`KAFKA_${name.toUpperCase().replaceAll(".", "_")}`, value]),
  );
}
