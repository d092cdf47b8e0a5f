import { Kafka, type KafkaConfig as KafkaJsConfig, type LogEntry, logLevel } from "kafkajs";
import { type Socket, connect as connectTcp, isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import type { KafkaConfig, KafkaSasl } from "../options.ts";
import type { Compress } from "./produce.ts";
import { backOff } from "./back-off.ts";
import { oauthBearer } from "./oauth.ts";
import { repair } from "./repair.ts";

/** One `Kafka` object: kafkajs caches committed offsets on it, so consumers must not share one. */
export interface Engine {
  readonly kafka: Kafka;
  /** Produce requests written to a socket so far. */
  readonly requestsWritten: number;
  /** Closes every socket, opens no other, and ends kafkajs' own retry loops. */
  dispose(): void;
}

const produceApiKey = 0;
const keepAliveMs = 60_000;
/** n.b. these log inside a retry loop: what is thrown there ends the loop, while elsewhere it would be an unhandled rejection. */
const retrying: ReadonlySet<string> = new Set(["BrokerPool", "Producer"]);

export interface EngineOptions {
  readonly retry?: typeof backOff;
  readonly onLog?: (entry: LogEntry) => void;
}

export interface EngineSettings {
  readonly config: KafkaConfig;
  readonly clientName: string;
  readonly compress: Compress;
}

/** Every engine of one connection, so that all can be ended together. */
export class EngineRoom {
  readonly #settings: EngineSettings;
  readonly #engines = new Set<Engine>();
  #disposed = false;

  constructor(settings: EngineSettings) {
    this.#settings = settings;
  }

  open(options: EngineOptions = {}): Engine {
    const engine = createEngine(this.#settings, options, () => this.#engines.delete(engine));
    this.#engines.add(engine);
    if (this.#disposed) engine.dispose();
    return engine;
  }

  dispose(): void {
    this.#disposed = true;
    for (const engine of this.#engines) engine.dispose();
  }
}

function createEngine(
  { config, clientName, compress }: EngineSettings,
  options: EngineOptions,
  onDispose: () => void,
): Engine {
  const { retry = backOff, onLog = () => {} } = options;
  const sockets = new Set<Socket>();
  let disposed = false;
  let requestsWritten = 0;
  const kafka = new Kafka({
    brokers: [...config.brokers],
    clientId: config.clientId ?? clientName,
    ...(config.ssl === false ? {} : { ssl: config.ssl }),
    ...(config.sasl ? { sasl: toKafkaJsSasl(config.sasl) } : {}),
    connectionTimeout: config.connectionTimeout,
    authenticationTimeout: config.connectionTimeout,
    requestTimeout: config.requestTimeout,
    enforceRequestTimeout: true,
    retry,
    logLevel: logLevel.ERROR,
    logCreator: () => (entry) => {
      // n.b. kafkajs has no way to cancel a send that sleeps between two attempts; it would reconnect behind our back.
      if (disposed && retrying.has(entry.namespace)) throw new TypeError("the client was closed");
      onLog(entry);
    },
    socketFactory: ({ host, port, ssl, onConnect }) => {
      if (disposed) throw new Error("the client was closed");
      const socket = ssl
        ? connectTls({ host, port, ...(isIP(host) ? {} : { servername: host }), ...ssl }, onConnect)
        : connectTcp({ host, port }, onConnect);
      socket.setKeepAlive(true, keepAliveMs);
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      countProduceRequests(socket, () => (requestsWritten += 1));
      return socket;
    },
  });
  repair(kafka, compress);
  return {
    kafka,
    get requestsWritten() {
      return requestsWritten;
    },
    dispose() {
      disposed = true;
      onDispose();
      // n.b. kafkajs hears of a closed socket only through "error" or "end"; without one its requests stay pending.
      for (const socket of sockets) socket.destroy(new Error("the client was closed"));
    },
  };
}

/** Every request is one write: length (4 bytes), then the number of the API. */
function countProduceRequests(socket: Socket, count: () => void): void {
  const write = socket.write.bind(socket) as (...values: unknown[]) => boolean;
  const counting = (...values: unknown[]): boolean => {
    const [frame] = values;
    if (Buffer.isBuffer(frame) && frame.length >= 6 && frame.readInt16BE(4) === produceApiKey) count();
    return write(...values);
  };
  socket.write = counting as Socket["write"];
}

function toKafkaJsSasl(sasl: KafkaSasl): NonNullable<KafkaJsConfig["sasl"]> {
  switch (sasl.mechanism) {
    case "PLAIN":
      return { mechanism: "plain", username: sasl.username, password: sasl.password };
    case "SCRAM-SHA-256":
      return { mechanism: "scram-sha-256", username: sasl.username, password: sasl.password };
    case "SCRAM-SHA-512":
      return { mechanism: "scram-sha-512", username: sasl.username, password: sasl.password };
    case "OAUTHBEARER":
      return oauthBearer(() => sasl.token());
  }
}
