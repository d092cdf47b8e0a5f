import type { Cluster, Kafka } from "kafkajs";
import { brokerOf } from "./cluster.ts";
import type { Compress } from "./produce.ts";
import { changeRequests } from "./requests.ts";

/** The parts of kafkajs' inside that are touched here. */
interface Connection {
  readonly requestQueue: { readonly pending: readonly unknown[]; scheduleCheckPendingRequests(): void };
  connect(): Promise<unknown>;
  disconnect(): Promise<unknown>;
}
interface Builder {
  build(...values: unknown[]): Promise<{ readonly pool: readonly Connection[] }>;
}

const groupCoordinator = 0;
const authenticate = "private:Connection:authenticate";
const createCluster = "private:Kafka:createCluster";

/**
 * Repairs faults in every cluster and connection that this `Kafka` object makes, and puts our encoder into it. Only its own objects are touched, never the library; if
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
    if (isCluster(cluster)) {
      changeRequests(cluster, compress);
      tellWhyNoCoordinator(cluster);
    }
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
      closeUnlessLoggedIn(connection);
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

/** A login that failed half-way leaves a connection on which the broker takes no other, and kafkajs would go on with it for ever. */
function closeUnlessLoggedIn(connection: Connection): void {
  const key = Object.getOwnPropertySymbols(connection).find(({ description }) => description === authenticate);
  const logIn: unknown = key && Reflect.get(connection, key);
  if (!key || typeof logIn !== "function") return;
  Reflect.set(connection, key, async () => {
    try {
      await logIn.call(connection);
    } catch (error) {
      await connection.disconnect();
      throw error;
    }
  });
}

/** kafkajs keeps every reason to itself, and says only that there is no coordinator: without rights to a group that would be tried for ever. */
function tellWhyNoCoordinator(cluster: Cluster): void {
  const find = cluster.findGroupCoordinator.bind(cluster);
  cluster.findGroupCoordinator = async (group) => {
    try {
      return await find(group);
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "KafkaJSGroupCoordinatorNotFound") throw error;
      const coordinatorType = Reflect.get(group, "coordinatorType") ?? groupCoordinator;
      await (await brokerOf(cluster)).findGroupCoordinator({ groupId: group.groupId, coordinatorType });
      throw error; // it was there a moment later
    }
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
