import type { Cluster } from "kafkajs";
import { type FetchedPartition, hideAborted } from "./aborted.ts";
import { type Compress, type Lookup, withOurEncoder } from "./produce.ts";

/** The parts of kafkajs' inside that are touched here. */
interface Broker {
  lookupRequest: Lookup;
}
interface Fetched {
  readonly responses: readonly { readonly partitions: readonly FetchedPartition[] }[];
}
interface Exchange {
  readonly request: unknown;
  readonly response: { decode(raw: unknown): Promise<Fetched>; parse(decoded: Fetched): unknown };
}

const fetchApiKey = 1;

/**
 * Changes what the brokers of this cluster send and read: our encoder, and no records of aborted transactions. Only its own objects
 * are touched, never the library; if its inside looks otherwise, everything stays as it is.
 */
export function changeRequests(cluster: Cluster, compress: Compress): void {
  const ours = new WeakSet<object>();
  const find = cluster.findBroker.bind(cluster);
  cluster.findBroker = async (options) => {
    const broker: unknown = await find(options);
    // n.b. a broker that reconnects looks its requests up anew.
    if (isBroker(broker) && !ours.has(broker.lookupRequest)) {
      broker.lookupRequest = withoutAborted(withOurEncoder(broker.lookupRequest, compress));
      ours.add(broker.lookupRequest);
    }
    return broker as Awaited<ReturnType<Cluster["findBroker"]>>;
  };
}

function withoutAborted(lookup: Lookup): Lookup {
  return (apiKey, definition) => {
    const make = lookup(apiKey, definition);
    if (apiKey !== fetchApiKey || typeof make !== "function") return make;
    return (input: unknown): Exchange => {
      const { request, response } = (make as (input: unknown) => Exchange)(input);
      const decode = async (raw: unknown): Promise<Fetched> => {
        const fetched = await response.decode(raw);
        for (const { partitions } of fetched.responses) partitions.forEach(hideAborted);
        return fetched;
      };
      return { request, response: { ...response, decode } };
    };
  };
}

function isBroker(broker: unknown): broker is Broker & object {
  return typeof broker === "object" && broker !== null && "lookupRequest" in broker;
}
