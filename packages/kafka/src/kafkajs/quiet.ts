import type { Kafka } from "kafkajs";

/** The parts of kafkajs' inside that the repair below touches. */
interface RequestQueue {
  readonly pending: readonly unknown[];
  scheduleCheckPendingRequests(): void;
}
interface Cluster {
  readonly connectionPoolBuilder: { build(...values: unknown[]): Promise<{ readonly pool: readonly { readonly requestQueue: RequestQueue }[] }> };
}

const createCluster = "private:Kafka:createCluster";

/**
 * Repairs the idle loop of every connection that this `Kafka` object makes: kafkajs arms a timer with a negative delay for ever, about
 * 900 times a second and socket, which costs 3 % of a core and one TimeoutNegativeWarning on Node 24. Only these objects are
 * touched, never the library; if its inside looks otherwise, everything stays as it is.
 */
export function stopIdleSpin(kafka: Kafka): void {
  const key = Object.getOwnPropertySymbols(kafka).find(({ description }) => description === createCluster);
  const create: unknown = key && Reflect.get(kafka, key);
  if (!key || typeof create !== "function") return;
  Reflect.set(kafka, key, (...values: unknown[]) => {
    const cluster: unknown = create(...values);
    if (isCluster(cluster)) repair(cluster);
    return cluster;
  });
}

function repair({ connectionPoolBuilder: builder }: Cluster): void {
  const build = builder.build.bind(builder);
  builder.build = async (...values) => {
    const connections = await build(...values);
    for (const { requestQueue: queue } of Array.isArray(connections.pool) ? connections.pool : []) {
      const schedule = queue.scheduleCheckPendingRequests.bind(queue);
      // Whatever puts a request into `pending` calls this again, so an empty queue needs no timer.
      queue.scheduleCheckPendingRequests = () => {
        if (queue.pending.length > 0) schedule();
      };
    }
    return connections;
  };
}

function isCluster(value: unknown): value is Cluster {
  const builder: unknown = typeof value === "object" && value !== null ? Reflect.get(value, "connectionPoolBuilder") : undefined;
  return typeof builder === "object" && builder !== null && typeof Reflect.get(builder, "build") === "function";
}
