import type { Cluster, Kafka } from "kafkajs";
import { type Compress, encodeOurselves } from "./produce.ts";

/** The parts of kafkajs' inside that are touched here. */
interface Connection {
  readonly requestQueue: { readonly pending: readonly unknown[]; scheduleCheckPendingRequests(): void };
  connect(): Promise<unknown>;
}
interface Builder {
  build(...values: unknown[]): Promise<{ readonly pool: readonly Connection[] }>;
}

const createCluster = "private:Kafka:createCluster";

/**
 * Repairs two faults in every connection that this `Kafka` object makes, and puts our encoder into it. Only its own objects are touched, never the library; if
 * its inside looks otherwise, everything stays as it is.
 */
export function repair(kafka: Kafka, compress: Compress): void {
  const key = Object.getOwnPropertySymbols(kafka).find(({ description }) => description === createCluster);
  const create: unknown = key && Reflect.get(kafka, key);
  if (!key || typeof create !== "function") return;
  Reflect.set(kafka, key, (...values: unknown[]) => {
    const cluster: unknown = create(...values);
    const builder = builderOf(cluster);
    if (builder) repairConnections(builder);
    if (isCluster(cluster)) encodeOurselves(cluster, compress);
    return cluster;
  });
}

function repairConnections(builder: Builder): void {
  const build = builder.build.bind(builder);
  builder.build = async (...values) => {
    const connections = await build(...values);
    for (const connection of Array.isArray(connections.pool) ? connections.pool : []) {
      stopIdleSpin(connection);
      connectOnce(connection);
    }
    return connections;
  };
}

/**
 * kafkajs arms a timer with a negative delay for ever, about 900 times a second and socket: 3 % of a core while idle, and a
 * TimeoutNegativeWarning on Node 24. Whatever puts a request into `pending` asks again, so an empty queue needs no timer.
 */
function stopIdleSpin({ requestQueue: queue }: Connection): void {
  const schedule = queue.scheduleCheckPendingRequests.bind(queue);
  queue.scheduleCheckPendingRequests = () => {
    if (queue.pending.length > 0) schedule();
  };
}

/** Two requests that find the connection closed would open a socket each; one of them stays open, forgotten. */
function connectOnce(connection: Connection): void {
  const connect = connection.connect.bind(connection);
  let connecting: Promise<unknown> | undefined;
  connection.connect = () => {
    connecting ??= connect().finally(() => (connecting = undefined));
    return connecting;
  };
}

function builderOf(cluster: unknown): Builder | undefined {
  const builder: unknown =
    typeof cluster === "object" && cluster !== null ? Reflect.get(cluster, "connectionPoolBuilder") : undefined;
  const usable = typeof builder === "object" && builder !== null && typeof Reflect.get(builder, "build") === "function";
  return usable ? (builder as Builder) : undefined;
}

function isCluster(cluster: unknown): cluster is Cluster {
  return typeof cluster === "object" && cluster !== null && typeof Reflect.get(cluster, "findBroker") === "function";
}
